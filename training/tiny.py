"""What the bot's tests need of models by others: a tiny untrained directory, and a small fixed graph.

The directory in the official 16 kHz style understands nothing; it proves that a directory is loaded by
path, its own sample rate is read and caller audio is resampled to it. The graph (HCLG.fst: no run-time
grammars) serves the packaged network; `tests/wideband_model.py` makes 16 kHz models that hear of both.
"""

import argparse
from pathlib import Path

import torch

from training.export import write_configuration
from training.features import MFCC_CONF
from training.graph import UNKNOWN, write_fixed_graph, write_graph
from training.lexicon import DIGITS, lexicon
from training.lm import bigram
from training.model import AcousticModel, Shape
from training.network_file import write_final_mdl
from training.phone_set import PhoneSet


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="the model directory")
    parser.add_argument("--fixed-graph", type=Path, help="the graph folder; left out without")
    args = parser.parse_args()
    torch.manual_seed(1)
    shape = Shape(front=8, width=8, bottleneck=4, reach=(1, 1), lookahead=(1, 0))
    model = AcousticModel(shape).eval()
    write_configuration(args.out)
    conf = MFCC_CONF.replace("=8000", "=16000").replace("--high-freq=-200", "--high-freq=-400")
    (args.out / "conf" / "mfcc.conf").write_text(conf)
    phones = PhoneSet()
    write_final_mdl(args.out / "am" / "final.mdl", model, phones, None)
    words = {*DIGITS, "yes", "no"}
    arcs = bigram([], words, unknown=UNKNOWN, unknown_share=0.02)
    prons = {word: lexicon()[word] for word in words}
    write_graph(args.out / "graph", phones, prons, arcs, unknown_cost=3.0)
    if args.fixed_graph:
        prons["oh"] = lexicon()["oh"]
        write_fixed_graph(args.fixed_graph, phones, prons, unknown_cost=2.6, word_cost=4.0)


if __name__ == "__main__":
    main()
