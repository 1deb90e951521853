"""llama.cpp's own server with a language model of half a megabyte that this file writes.

Runs in a virtual environment of its own (``make test-llm``): it needs ``xllamacpp`` and ``gguf``. The model has
one layer that does nothing and embeddings that are unit vectors, so each token decides the next one: after the prompt it
says ``ANSWER`` and ends; where the last message has "endlessly", it says "on and" for ever; held to a JSON Schema it takes
what the grammar allows.

    python tests/loopback/llm_server_program.py DIRECTORY [KEY]   prints its address, ends with its input
"""

import re
import sys
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

ANSWER = "The desk opens at nine. Parcels stay here seven days!"
PREFERRED_IN_JSON = {":": "1", "1": "}", "{": '"', ",": '"'}
BEGIN, FOR_EVER, UNKNOWN, START, END = "<answer>", "<endlessly>", "<unk>", "<s>", "</s>"
TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    "{% if 'endlessly' in messages[-1]['content'] %}" + FOR_EVER + "{% else %}" + BEGIN + "{% endif %}"
)
HEAD_SIZE = 64


def write_model(path: Path) -> None:
    """The model as a GGUF file."""
    # one token has one follower, so no word comes twice
    words = [t if t in ".!" else f"\u2581{t}" for t in re.findall(r"\w+|[.!]", ANSWER)]
    letters = [chr(c) for c in range(33, 127) if chr(c) not in words]
    loop = ["\u2581on", "\u2581and"]
    control = [UNKNOWN, START, END, BEGIN, FOR_EVER]
    bytes_ = [f"<0x{n:02X}>" for n in range(256)]
    tokens = [*control, *bytes_, *words, *loop, *letters]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 4, *[gguf.TokenType.BYTE] * 256]
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds))
    size = -(-len(tokens) // HEAD_SIZE) * HEAD_SIZE
    follower = np.zeros((len(tokens), size), np.float32)

    def follows(first: str, then: str) -> None:
        follower[tokens.index(then), tokens.index(first)] = 1.0

    for first, then in zip([BEGIN, *words], [*words, END], strict=True):
        follows(first, then)
    for first, then in ((FOR_EVER, loop[0]), (loop[0], loop[1]), (loop[1], loop[0])):
        follows(first, then)
    for first, then in PREFERRED_IN_JSON.items():
        follows(first, then)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(size)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(size // HEAD_SIZE)
    writer.add_head_count_kv(size // HEAD_SIZE)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(n) for n in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(tokens.index(UNKNOWN))
    writer.add_bos_token_id(tokens.index(START))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_chat_template(TEMPLATE)
    embeddings = np.eye(len(tokens), size, dtype=np.float32)
    writer.add_tensor("token_embd.weight", embeddings)
    writer.add_tensor("output.weight", follower)
    writer.add_tensor("output_norm.weight", np.ones(size, np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(size, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((size, size), np.float32))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((32, size), np.float32))
    writer.add_tensor("blk.0.ffn_down.weight", np.zeros((size, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    model = Path(sys.argv[1]) / "tiny.gguf"
    write_model(model)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 4096
    params.n_parallel = 2
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.api_keys = sys.argv[2:]
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
