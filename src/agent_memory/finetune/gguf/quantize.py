"""Quantise a GGUF file of 16 bits by llama.cpp's own quantisers, which the package xllamacpp has in its library.

A program with the arguments of `llama-quantize`: `quantize.py SOURCE TARGET TYPE`, run by its path; it imports nothing
of ours. Which tensor gets which type follows llama.cpp's mixtures for dense models (docs/decisions/0024-gguf.md).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILE_TYPES = {"F16": 1, "Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
"""llama.cpp's `llama_ftype`: what `general.file_type` of a file says."""
_MOST = {"Q8_0": "Q8_0", "Q4_K_M": "Q4_K", "Q5_K_M": "Q5_K", "Q6_K": "Q6_K"}
"""The type of most weights."""
_WIDER = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""For rows that a k-quant, which packs 256 weights together, cannot hold: types that pack 32."""
_LEFT = re.compile(r"norm|ffn_gate_inp|ssm_conv1d|position|token_types")
"""Small, and worth their bits."""
SLICE_WEIGHTS = 1 << 22
"""At once in a thread, as 32-bit floats: 16 MB."""


def choose(name: str, quantization: str, *, columns: int, layers: int, tied: bool) -> str | None:
    """The type of a weight of two dimensions or more, or None: it stays as it is. `tied`: the embeddings are the
    output's weights too."""
    if not name.endswith("weight") or _LEFT.search(name):
        return None
    kind = _MOST[quantization]
    layer = re.match(r"blk\.(\d+)\.", name)
    speaks = name == "output.weight" or (tied and name == "token_embd.weight")
    if speaks and kind != "Q8_0":
        kind = "Q6_K"
    elif quantization.endswith("_M"):
        matters = re.search(r"\.(attn_v|ffn_down(_exps|_shexp)?)\.weight$", name)
        if layer and matters and _careful(int(layer[1]), layers):
            kind = "Q6_K"
        elif ".attn_qkv." in name:
            kind = "Q5_K" if kind == "Q4_K" else "Q6_K"
    if kind in _WIDER and columns % 256:
        kind = _WIDER[kind]
    return None if columns % 32 else kind


def _careful(layer: int, layers: int) -> bool:
    """The first and the last eighth, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def quantize(source: Path, target: Path, quantization: str) -> None:
    import gguf

    library = _library()
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    layers = int(reader.fields[f"{architecture}.block_count"].contents())
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    writer.add_uint32("general.file_type", FILE_TYPES[quantization])
    kinds: dict[str, Any] = {}
    for tensor in reader.tensors:
        columns = int(tensor.shape[0])
        name = (
            choose(tensor.name, quantization, columns=columns, layers=layers, tied=tied)
            if len(tensor.shape) > 1
            else None
        )
        kind = gguf.GGMLQuantizationType[name] if name else None
        kinds[tensor.name] = kind
        shape, dtype, size = tensor.data.shape, tensor.data.dtype, tensor.data.nbytes
        if kind is not None:
            shape = gguf.quant_shape_to_byte_shape(tuple(int(n) for n in reversed(tensor.shape)), kind)
            dtype, size = _uint8(), _product(shape)
        writer.add_tensor_info(tensor.name, shape, dtype, size, raw_dtype=kind or tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for tensor in reader.tensors:
            kind = kinds[tensor.name]
            writer.write_tensor_data(
                tensor.data if kind is None else _packed(library, pool, tensor, int(kind))
            )
    writer.close()


def _packed(library: ctypes.CDLL, pool: ThreadPoolExecutor, tensor: Any, kind: int) -> Any:
    import gguf
    import numpy as np

    columns = int(tensor.shape[0])
    rows = tensor.data.reshape(-1, columns)
    block, bytes_of_block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    width = columns // block * bytes_of_block
    out = np.empty((len(rows), width), dtype=np.uint8)
    library.ggml_quantize_init(kind)
    step = max(1, SLICE_WEIGHTS // columns)

    def pack(first: int) -> None:
        part = np.ascontiguousarray(rows[first : first + step], dtype=np.float32)
        library.ggml_quantize_chunk(
            kind, part.ctypes.data, out[first : first + step].ctypes.data, 0, len(part), columns, None
        )

    for _ in pool.map(pack, range(0, len(rows), step)):
        pass
    return out.reshape(*tensor.data.shape[:-1], width)


def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("xllamacpp")
    folders = (found.submodule_search_locations if found else None) or []
    file = next((f for folder in folders for f in Path(folder).glob("xllamacpp*.so")), None)
    if file is None:
        raise SystemExit("xllamacpp has no library here whose quantisers can be called: take llama-quantize")
    library = ctypes.CDLL(str(file))
    library.ggml_quantize_init.argtypes = [ctypes.c_int]
    library.ggml_quantize_init.restype = None
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def _uint8() -> Any:
    import numpy as np

    return np.dtype(np.uint8)


def _product(shape: Iterable[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


if __name__ == "__main__":
    given_source, given_target, given_type = sys.argv[1:]
    quantize(Path(given_source), Path(given_target), given_type)
