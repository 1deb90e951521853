"""How a text is to be spoken: the dialogue asks for it, the worker has the voices."""

import msgspec


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Voice and manner of one utterance.

    ``voice`` and ``locale`` are empty for the installation's voice and the dialplan's locale; ``rate``
    and ``pitch`` are factors of what the voice does by itself.
    """

    voice: str = ""
    locale: str = ""
    rate: float = 1.0
    pitch: float = 1.0


PLAIN_DELIVERY = Delivery()
