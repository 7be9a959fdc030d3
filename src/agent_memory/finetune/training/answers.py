"""A model in memory that is asked: transformers' generate, greedy, several questions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agent_memory.finetune.run import Run
from agent_memory.finetune.training import base
from agent_memory.finetune.training.dialect import Dialect
from agent_memory.finetune.training.encode import Encoder
from agent_memory.finetune.training.score import Message, Question

AT_ONCE = 8
"""Questions; of like length, so that little is padding."""


class Asked:
    """A model and its tokenizer, for questions."""

    def __init__(self, run: Run, folder: Path, adapter: Path | None = None) -> None:
        """The base in `folder`, or what was merged from it, with an adapter beside it. Raises AgentMemoryError."""
        training = run.config.training
        device = base.device(training)
        dtype = base.dtype(training, device)
        self.tokenizer = base.tokenizer(run, folder)
        config = base.config(run, base.folder(run))
        if adapter:
            from agent_memory.finetune.training.merge import adapted

            self.model = adapted(folder, config, adapter, of=dtype, on=device)
        else:
            self.model = base.load(folder, config, dtype, device)
        self.model.eval()
        self.stops = base.stops(self.model, self.tokenizer)
        self.encoder = Encoder(self.tokenizer, self.stops)
        self.dialect = Dialect(self.tokenizer)
        self.room = run.config.training.context
        self.longest = run.config.evaluation.max_new_tokens

    def fits(self, question: Question) -> bool:
        """Whether there is room for the question and an answer."""
        return len(self.encoder.prompt(question.messages, question.tools)) + self.longest <= self.room

    def answers(self, questions: Sequence[Question], tell: Callable[[int], None]) -> list[Message]:
        """The answers, in the questions' order; `tell` gets how many there are so far."""
        prompts = [self.encoder.prompt(q.messages, q.tools) for q in questions]
        found: dict[int, Message] = {}
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        for first in range(0, len(order), AT_ONCE):
            places = order[first : first + AT_ONCE]
            said = self.continued([prompts[place] for place in places], self.longest)
            for place, ids in zip(places, said, strict=True):
                ended = next((n for n, token in enumerate(ids) if token in self.stops), None)
                found[place] = self.dialect.read(
                    ids[:ended], prompts[place], questions[place].tools, ended=ended is not None
                )
            tell(len(found))
        return [found[place] for place in range(len(prompts))]

    def continued(self, prompts: Sequence[list[int]], most: int) -> list[list[int]]:
        """What the model says after each of these tokens, up to `most` of them, with the token that ends it."""
        import torch

        pad = self.tokenizer.pad_token_id
        pad = pad if pad is not None else self.tokenizer.eos_token_id
        longest = max(map(len, prompts))
        ids = torch.tensor([[pad] * (longest - len(one)) + one for one in prompts], device=self.model.device)
        mask = torch.tensor(
            [[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=self.model.device
        )
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=most,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                pad_token_id=pad,
                eos_token_id=sorted(self.stops),
            )
        said = []
        for row in out[:, longest:].tolist():
            ended = next((n for n, token in enumerate(row) if token in self.stops), len(row) - 1)
            said.append(row[: ended + 1])
        return said
