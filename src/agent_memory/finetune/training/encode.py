"""A row in tokens, with a label on each token that the model is to say, and on no other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agent_memory.errors import AgentMemoryError
from agent_memory.finetune.training.score import Message

IGNORED = -100
"""The label of a token that is not trained on."""


@dataclass(slots=True)
class Counts:
    """Of rows that were made ready."""

    rows: int = 0
    cut: int = 0
    """Longer than the context: they end with the last whole answer that fits."""
    left_out: int = 0
    """Not even their first answer fits."""
    tokens: int = 0
    label_tokens: int = 0
    longest: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    input_ids: list[int]
    labels: list[int]

    def spans(self) -> Iterator[list[int]]:
        """The tokens of each stretch that is trained on."""
        span: list[int] = []
        for token, label in zip(self.input_ids, self.labels, strict=True):
            if label != IGNORED:
                span.append(token)
            elif span:
                yield span
                span = []
        if span:
            yield span


class Encoder:
    """Rows into tokens by a tokenizer and its chat template.

    What the template puts around the agent's words is learned from the template itself: TRL's twin of it, which marks
    them, where TRL knows the template; else the places where the text grows by a message."""

    def __init__(self, tokenizer: Any, stops: Iterable[int]) -> None:
        """`stops`: the tokens that end an answer."""
        self.tokenizer = tokenizer
        self.stops = frozenset(stops)

    @cached_property
    def twin(self) -> str | None:
        """TRL's twin of the template, or the template itself where it marks the agent's words; None: neither."""
        from trl.chat_template_utils import get_training_chat_template

        try:
            twin: str = get_training_chat_template(self.tokenizer) or self.tokenizer.chat_template
        except ValueError:
            return None
        return twin

    def encode(self, row: Mapping[str, Any]) -> Encoded:
        """Raises AgentMemoryError: the template does not tell where the agent speaks."""
        tools = json.loads(row["tools"]) or None
        if self.twin is None:
            return self._grown(row["messages"], tools)
        made = self.tokenizer.apply_chat_template(
            row["messages"],
            tools=tools,
            chat_template=self.twin,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        labels = [
            token if mask else IGNORED
            for token, mask in zip(made["input_ids"], made["assistant_masks"], strict=True)
        ]
        return self._tidied(Encoded(list(made["input_ids"]), labels))

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[int]:
        """What the model sees when it is asked for the next message; where its template has a place for thoughts, it is
        told to have none, as the rows have none."""
        made = self.tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) or None,
            add_generation_prompt=True,
            enable_thinking=False,
            return_dict=True,
        )
        return list(made["input_ids"])

    def _tidied(self, encoded: Encoded) -> Encoded:
        """Without labels on a template's empty space before an answer and after its end: that is nobody's word."""
        ids, labels = encoded.input_ids, list(encoded.labels)
        for place in range(1, len(ids)):
            after_the_end = ids[place - 1] in self.stops and ids[place] not in self.stops
            at_the_start = labels[place - 1] == IGNORED and not self.tokenizer.decode([ids[place]]).strip()
            if after_the_end or at_the_start:
                labels[place] = IGNORED
        return Encoded(encoded.input_ids, labels)

    def _grown(self, messages: Sequence[Message], tools: Any) -> Encoded:
        def told(count: int, *, asks: bool = False) -> str:
            text: str = self.tokenizer.apply_chat_template(
                list(messages[:count]),
                tools=tools,
                tokenize=False,
                add_generation_prompt=asks,
                enable_thinking=False,
            )
            return text

        whole, spans = told(len(messages)), []
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before, after = told(place, asks=True), told(place + 1)
            if not (whole.startswith(after) and after.startswith(before)):
                raise AgentMemoryError(
                    "The base's chat template shows a message differently once others follow it, and TRL does not know"
                    " it: nobody can tell what would be trained.",
                    "Set base.template to one that TRL knows and that fits the base, such as qwen2_5 or qwen3.",
                )
            spans.append((len(before), len(after)))
        made = self.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            token if any(begin <= start and end <= stop for begin, stop in spans) and end > start else IGNORED
            for token, (start, end) in zip(made["input_ids"], made["offset_mapping"], strict=True)
        ]
        return self._tidied(Encoded(list(made["input_ids"]), labels))


def fitted(encoded: Encoded, context: int, counts: Counts) -> Encoded | None:
    """The row, if need be only up to the last whole answer that fits; None where none does. Counts what it does."""
    if len(encoded.input_ids) > context:
        end = context
        while end and (encoded.labels[end - 1] == IGNORED or encoded.labels[end] != IGNORED):
            end -= 1
        if not end:
            counts.left_out += 1
            return None
        counts.cut += 1
        encoded = Encoded(encoded.input_ids[:end], encoded.labels[:end])
    labelled = sum(label != IGNORED for label in encoded.labels)
    if not labelled:
        counts.left_out += 1
        return None
    counts.rows += 1
    counts.tokens += len(encoded.input_ids)
    counts.label_tokens += labelled
    counts.longest = max(counts.longest, len(encoded.input_ids))
    return encoded


def faults(encoder: Encoder, row: Mapping[str, Any]) -> list[str]:
    """What is wrong with what would be trained of a row: it has to be each of the agent's messages, whole and with its
    end, and nothing else."""
    found = []
    said = [message for message in row["messages"] if message["role"] == "assistant"]
    spans = list(encoder.encode(row).spans())
    if len(spans) != len(said):
        return [f"{len(spans)} stretches are trained for {len(said)} answers"]
    others = [m["content"].strip() for m in row["messages"] if m["role"] != "assistant"]
    for message, span in zip(said, spans, strict=True):
        text = encoder.tokenizer.decode(span)
        if span[-1] not in encoder.stops:
            found.append("the end of an answer is not trained, so the model would not stop")
        parts = [message["content"].strip()] + [
            call["function"]["name"] for call in message.get("tool_calls", ())
        ]
        if any(part not in text for part in parts):
            found.append("an answer is not trained whole")
        own = json.dumps(message, ensure_ascii=False)
        if any(len(other) >= 20 and other in text and other not in own for other in others):
            found.append("words that are not the agent's are trained")
    return found
