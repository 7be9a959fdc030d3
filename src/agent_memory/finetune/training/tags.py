"""Whether the base ever learned the tokens that a call is made of.

A base may have tokens for `<tool_call>` and its like that it never saw: their rows in its matrices are what unused rows
are. LoRA on the layers cannot make it say them, the loss looks healthy, and the model never makes a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ALIKE = 0.999
"""The cosine from which two rows are the same row."""
_SPARE = re.compile(r"reserved|unused|extra_id|placeholder|dummy", re.I)


@dataclass(frozen=True, slots=True)
class Tags:
    tokens: dict[str, int]
    """Text → id of each token that is one of the tokenizer's added ones and stands in what is trained."""
    untrained: list[str]


def look(model: Any, tokenizer: Any, spans: Iterable[list[int]]) -> Tags:
    """`spans`: stretches of tokens that are to be trained, as of some rows."""
    added = {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items()}
    used = sorted({token for span in spans for token in span if token in added})
    spare = _spare(tokenizer, added, model.get_input_embeddings().weight.shape[0], used)
    never: set[int] = set()
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        never |= _untrained(module.weight.detach(), used, spare)
    return Tags({added[id_]: id_ for id_ in used}, [added[id_] for id_ in used if id_ in never])


def _spare(tokenizer: Any, added: dict[int, str], rows: int, used: list[int]) -> list[int]:
    """Rows that stand for nothing: beyond the vocabulary, or named so."""
    last = max(tokenizer.get_vocab().values())
    named = [id_ for id_, text in added.items() if _SPARE.search(text) and id_ not in used]
    return [*named, *range(last + 1, rows)][:256]


def _untrained(weight: Any, used: list[int], spare: list[int]) -> set[int]:
    """Those whose row is that of a spare one, or of another one in use: two tokens that nothing tells apart."""
    import torch

    found = set()
    for id_ in used:
        others = [one for one in (*spare, *used) if one != id_]
        if not others:
            continue
        mine, rows = weight[id_].float(), weight[others].float()
        cosine = torch.nn.functional.cosine_similarity(rows, mine[None], dim=1)
        norms = rows.norm(dim=1) / mine.norm().clamp(min=1e-12)
        if bool(((cosine > ALIKE) & ((norms - 1).abs() < 0.01)).any()) or not bool(mine.any()):
            found.add(id_)
    return found


def trainable(model: Any, tags: Tags) -> dict[str, list[int]]:
    """What PEFT is to train of them: the module's name → ids of rows. Tied matrices are one."""
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    modules = [model.get_input_embeddings()]
    if modules[0].weight is not model.get_output_embeddings().weight:
        modules.append(model.get_output_embeddings())
    ids = sorted(tags.tokens[text] for text in tags.tokens)
    return {names[id(module)]: ids for module in modules}
