"""Coqui models from a local directory: VITS streamed by windows, GlowTTS and FastPitch with a vocoder.

The directory holds ``config.json`` and one ``*.pth``; a vocoder lies in its sub-directory ``vocoder`` in
the same way, and ``voicebot tts calibrate`` leaves ``profiles.json`` there. Nothing is ever downloaded.
"""

import gc
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from voicebot.core.errors import SynthesisError
from voicebot.tts.coqui_stand_ins import install_stand_ins
from voicebot.tts.pitch import PitchShift
from voicebot.tts.protocol import NEUTRAL, Prosody, Sink, pcm_from_float

_FIRST_WINDOW_FRAMES: Final = 12
_LONGEST_WINDOW_FRAMES: Final = 96
_CONTEXT_FRAMES: Final = 16
"""Each side: more than the decoder's receptive field, so windows join to within 3e-8 of the whole."""
_WARMING_TEXT: Final = "Hello, one moment please."
_ONLY_FOR_TRAINING: Final = ("disc", "posterior_encoder")
_INSTALL: Final = "pip install 'voicebot[coqui]' torch"

_log = structlog.get_logger(__name__)


class CoquiVoice:
    """One Coqui model, kept in memory and warm.

    Args:
        model_path: The model's directory.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.

    Raises:
        SynthesisError: coqui-tts is not installed, or the directory holds no usable model; says which.
    """

    name = "coqui"

    def __init__(self, model_path: Path, device: str = "auto") -> None:
        config, weights = _model_files(model_path)
        vocoder = model_path / "vocoder"
        vocoder_files = _model_files(vocoder) if vocoder.is_dir() else None
        self._torch, synthesizer_class = _import_coqui()
        use_cuda = self._torch.cuda.is_available() if device == "auto" else device == "cuda"
        try:
            synthesizer = synthesizer_class(
                tts_checkpoint=str(weights),
                tts_config_path=str(config),
                vocoder_checkpoint=str(vocoder_files[1]) if vocoder_files else None,
                vocoder_config=str(vocoder_files[0]) if vocoder_files else None,
                use_cuda=use_cuda,
            )
        except Exception as error:
            raise SynthesisError(
                f"{model_path} cannot be loaded as a Coqui model: {type(error).__name__}: {error}"
            ) from error
        self.sample_rate_hz = int(synthesizer.output_sample_rate)
        self._synthesizer = synthesizer
        self._model = synthesizer.tts_model
        # length_scale and the captured latent are the model's own state: one encoder run at a time.
        self._lock = threading.Lock()
        self._decoder: Any = None
        self._captured: list[tuple[Any, Any]] = []
        self._length_scale = float(getattr(self._model, "length_scale", 1.0))
        if hasattr(self._model, "waveform_decoder"):
            self._prepare_vits()
        elif vocoder_files is None:
            raise SynthesisError(f"{model_path}: this model needs a vocoder in {vocoder}")
        self.synthesize(_WARMING_TEXT, lambda _: True)
        _log.info("coqui_model_ready", rate_hz=self.sample_rate_hz, cuda=use_cuda)

    def synthesize(self, text: str, sink: Sink, prosody: Prosody = NEUTRAL) -> None:
        """Speak `text` into `sink`; see `Voice`."""
        try:
            if prosody.pitch == 1.0:
                self._speak(text, sink, prosody.rate)
                return
            shift = PitchShift(prosody.pitch, self.sample_rate_hz, sink)
            if self._speak(text, shift, prosody.rate / shift.rate_factor):
                shift.finish()
        except RuntimeError as error:  # what torch raises, out of GPU memory included
            raise SynthesisError(f"the Coqui model failed: {error}") from error

    def _speak(self, text: str, sink: Sink, rate: float) -> bool:
        """Returns False when the sink stopped it."""
        with self._torch.inference_mode():
            if self._decoder is not None:
                return self._decode_by_windows(*self._encode(text, rate), sink)
            with self._lock:
                self._set_rate(rate)
                outputs = self._model.synthesize(text)
            features = outputs["outputs"]["model_outputs"][0]
            device = next(self._synthesizer.vocoder_model.parameters()).device
            wave = self._synthesizer._run_vocoder(features, device)  # noqa: SLF001  tts() itself pads with 10,000 zeros
            return sink(_to_pcm(wave))

    def _prepare_vits(self) -> None:
        for name in _ONLY_FOR_TRAINING:
            # Two thirds of the stock model's memory.
            if hasattr(self._model, name):
                setattr(self._model, name, None)
        self._decoder = self._model.waveform_decoder
        self._fold_weight_norm()
        captured = self._captured

        class Capture(self._torch.nn.Module):  # type: ignore[name-defined, misc]  # a class of a late import
            """Stands in the decoder's place and keeps what it would decode."""

            def forward(self, latent: Any, g: Any = None) -> Any:
                captured.append((latent, g))
                return latent.new_zeros(1, 1, 1)

        self._model.waveform_decoder = Capture()
        gc.collect()

    def _fold_weight_norm(self) -> None:
        # Not the decoder's own remove_weight_norm: it fails on the layers that VITS builds without.
        parametrize = self._torch.nn.utils.parametrize
        for module in self._decoder.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")

    def _encode(self, text: str, rate: float) -> tuple[Any, Any]:
        with self._lock:
            self._captured.clear()
            self._set_rate(rate)
            self._model.synthesize(text)
            if not self._captured:
                raise SynthesisError("the VITS model decoded nothing")
            latent, conditioning = self._captured.pop()
            return latent, conditioning

    def _set_rate(self, rate: float) -> None:
        if hasattr(self._model, "length_scale"):
            self._model.length_scale = self._length_scale / rate

    def _decode_by_windows(self, latent: Any, conditioning: Any, sink: Sink) -> bool:
        frames = int(latent.shape[-1])
        start, window = 0, _FIRST_WINDOW_FRAMES
        while start < frames:
            end = min(frames, start + window)
            left, right = max(0, start - _CONTEXT_FRAMES), min(frames, end + _CONTEXT_FRAMES)
            wave = self._decoder(latent[:, :, left:right], g=conditioning)
            hop = wave.shape[-1] // (right - left)
            if not sink(_to_pcm(wave[..., (start - left) * hop : (end - left) * hop])):
                return False
            # The first is soon there, the later ones cost less context.
            start, window = end, min(_LONGEST_WINDOW_FRAMES, 2 * window)
        return True


def _to_pcm(wave: Any) -> Any:
    return pcm_from_float(np.atleast_1d(np.asarray(wave.detach().cpu().float().numpy()).squeeze()))


def _model_files(directory: Path) -> tuple[Path, Path]:
    if not directory.is_dir():
        raise SynthesisError(f"{directory} is no directory: tts.model_path names a local Coqui model")
    config, weights = directory / "config.json", sorted(directory.glob("*.pth"))
    if not config.is_file() or len(weights) != 1:
        raise SynthesisError(
            f"{directory} must hold config.json and exactly one .pth file, it has {len(weights)}"
        )
    return config, weights[0]


def _import_coqui() -> tuple[Any, Any]:
    try:
        import torch  # noqa: PLC0415  2 GB that only this voice needs

        replaced = install_stand_ins()
        from TTS.utils.synthesizer import Synthesizer  # noqa: PLC0415
    except ImportError as error:
        raise SynthesisError(f"coqui-tts is not installed ({error}): {_INSTALL}") from error
    if replaced:
        _log.info("coqui_without", modules=replaced)
    return torch, Synthesizer
