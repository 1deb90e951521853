"""An 8 kHz VITS for the telephone: configuration and training entry point.

A stock 22 kHz VITS is not real time on one core (factor 1.05); at the line's own 8 kHz, with half the
decoder, it is (0.24, the small one 0.09). Training wants a GPU, the real torchaudio, and a corpus of one
speaker in LJSpeech's layout (``metadata.csv`` and ``wavs/``), 8 kHz mono::

    python -m voicebot.tts.vits_recipe CORPUS OUTPUT --size small

What comes out is a directory that ``tts.engine=coqui`` speaks with. No trained voice is shipped.
"""

import argparse
from pathlib import Path
from typing import Any, Final

from voicebot.core.errors import SynthesisError
from voicebot.tts.coqui_stand_ins import install_stand_ins

SAMPLE_RATE_HZ: Final = 8000
HOP_SAMPLES: Final = 128
_UPSAMPLING: Final = ([8, 8, 2], [16, 16, 4])
_FFT_SAMPLES: Final = 512

SIZES: Final[dict[str, dict[str, int]]] = {
    "standard": {"upsample_initial_channel_decoder": 256},
    "small": {
        "upsample_initial_channel_decoder": 128,
        "num_layers_text_encoder": 4,
        "num_layers_flow": 2,
    },
    "tiny": {
        "upsample_initial_channel_decoder": 32,
        "num_layers_text_encoder": 1,
        "num_layers_flow": 1,
        "num_layers_posterior_encoder": 1,
    },
}
"""Decoder and encoder sizes; ``tiny`` is for tests only."""


def vits_8k_config(size: str = "small", **overrides: Any) -> Any:
    """A Coqui ``VitsConfig`` at 8 kHz, characters instead of phonemes (no phonemizer at run time).

    Args:
        size: One of `SIZES`.
        **overrides: Any field of ``VitsConfig``.

    Raises:
        SynthesisError: Unknown size, or coqui-tts is not installed.
    """
    if size not in SIZES:
        raise SynthesisError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    try:
        install_stand_ins()
        from TTS.config.shared_configs import BaseAudioConfig  # noqa: PLC0415  the extra
        from TTS.tts.configs.vits_config import VitsArgs, VitsConfig  # noqa: PLC0415
    except ImportError as error:
        raise SynthesisError(
            f"coqui-tts is not installed ({error}): pip install 'voicebot[coqui]' torch"
        ) from error
    audio = BaseAudioConfig(
        sample_rate=SAMPLE_RATE_HZ,
        fft_size=_FFT_SAMPLES,
        win_length=_FFT_SAMPLES,
        hop_length=HOP_SAMPLES,
        num_mels=80,
        mel_fmin=0,
        mel_fmax=None,
    )
    rates, kernels = _UPSAMPLING
    arguments = VitsArgs(
        out_channels=_FFT_SAMPLES // 2 + 1,
        upsample_rates_decoder=rates,
        upsample_kernel_sizes_decoder=kernels,
        **SIZES[size],
    )
    fields: dict[str, Any] = {
        "audio": audio,
        "model_args": arguments,
        "use_phonemes": False,
        "text_cleaner": "basic_cleaners",
        "batch_size": 32,
        "eval_batch_size": 8,
        "epochs": 1000,
        "mixed_precision": True,
        "compute_input_seq_cache": True,
        "run_name": f"vits_8k_{size}",
    }
    return VitsConfig(**{**fields, **overrides})


def train(corpus: Path, output: Path, size: str = "small") -> None:
    """Train until stopped; checkpoints and ``config.json`` appear under `output`.

    Raises:
        SynthesisError: The corpus is not in LJSpeech's layout, or coqui-tts or torchaudio is missing.
    """
    if not (corpus / "metadata.csv").is_file() or not (corpus / "wavs").is_dir():
        raise SynthesisError(f"{corpus} has no metadata.csv and wavs/ (LJSpeech's layout)")
    config = vits_8k_config(size, output_path=str(output))
    from trainer import (  # type: ignore[import-not-found]  # noqa: PLC0415  the extra
        Trainer,
        TrainerArgs,
    )
    from TTS.config.shared_configs import BaseDatasetConfig  # noqa: PLC0415
    from TTS.tts.datasets import load_tts_samples  # noqa: PLC0415
    from TTS.tts.models.vits import Vits  # noqa: PLC0415

    dataset = BaseDatasetConfig(
        formatter="ljspeech", meta_file_train="metadata.csv", path=str(corpus), language="en"
    )
    config.datasets = [dataset]
    train_samples, eval_samples = load_tts_samples(dataset, eval_split=True)
    model = Vits(config)
    Trainer(
        TrainerArgs(),
        config,
        str(output),
        model=model,
        train_samples=train_samples,
        eval_samples=eval_samples,
    ).fit()


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description="Train an 8 kHz VITS voice")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", choices=[s for s in SIZES if s != "tiny"], default="small")
    arguments = parser.parse_args()
    try:
        train(arguments.corpus, arguments.output, arguments.size)
    except SynthesisError as error:
        parser.exit(1, f"voicebot: {error}\n")


if __name__ == "__main__":
    main()
