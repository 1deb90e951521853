"""Builds the narrowband Vosk model that the bot ships with; never needed to run the bot.

The steps, in order, each ``python -m training.<step> --help``:

    data        recordings -> one index with train / dev / test speakers kept apart
    synthesis   synthetic voices read the texts of ``texts``
    train       augmentation + features + model -> checkpoint (resumable, with a time budget)
    align       drops recordings that do not fit their text; weak labels for the barista set
    export      checkpoint -> Kaldi ``final.mdl`` + ``graph`` -> a Vosk model directory, checked
    evaluate    accuracy tables from the development speakers (tuning) or the test speakers

See training/README.md.
"""
