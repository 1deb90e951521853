"""Builds the narrowband Vosk model that the bot ships with; never needed to run the bot.

The steps, in order, each ``python -m training.<step> --help``:

    synthesis   synthetic voices read the texts of ``texts``
    data        recordings -> one index with train / dev / test speakers kept apart
    warm_start  a packaged model -> a checkpoint to go on from (optional)
    train       ``mixing`` + ``augmentation`` + ``rivals`` + ``model`` -> checkpoint; resumable
    align       weak labels for the barista set; drops recordings that do not fit their text
    cut         single words out of sentences: more voices for digits and commands
    curve       errors of the development speakers against the hours heard
    voices      errors of strangers against the number of voices, with a small network
    export      checkpoint -> Kaldi ``final.mdl`` + ``graph`` -> a Vosk model directory, checked
    evaluate    accuracy tables from the development speakers, to choose the export's options

``build`` runs them all (``make train``). See training/README.md.
"""
