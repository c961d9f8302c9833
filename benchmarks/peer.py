"""The protocol by what users would do instead: PEFT prompt tuning, the Hugging Face Trainer, and a script around them.

Pruning is done as such a script can: the values of dropped tokens and pieces are set to zero after every update, so the
sequence stays as long as it was. Scores come from a loop over single examples.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    EvalPrediction,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    default_data_collator,
)

from benchmarks.causal_answers import CausalAnswers
from benchmarks.measure import Stopwatch
from benchmarks.presets import Job, Rows
from benchmarks.protocol import EVALUATE, RoundResult, Start, signed_slopes, zero_head
from prunekit.models.load import Family, family
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores import Scores

# rows of an evaluation batch of the tuned peer, as in prunekit; as documented, it is the training batch
_TUNED_ROWS = 128
_IGNORED = -100
# how a model of each family is loaded, what PEFT calls its task, and which settings turn its dropout off
_CLASSES: dict[Family, tuple[Any, TaskType]] = {
    "encoder-decoder": (AutoModelForSeq2SeqLM, TaskType.SEQ_2_SEQ_LM),
    "encoder": (AutoModelForSequenceClassification, TaskType.SEQ_CLS),
    "decoder": (AutoModelForCausalLM, TaskType.CAUSAL_LM),
}
_NO_DROPOUT: dict[Family, dict[str, float]] = {
    "encoder-decoder": {"dropout_rate": 0.0},
    "encoder": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "decoder": {"attention_dropout": 0.0},
}


class Peer:
    """PEFT and Trainer as their guides show: fixed padding, float32, train mode, evaluation in training batches.

    Attributes:
        tuned: padding to the longest of a batch, texts of like length together, bfloat16 weights (prompt and head stay
            float32), dropout set to zero, wide evaluation batches, and no loss beside generated answers.
    """

    scores_many_at_once = False

    def __init__(self, job: Job, stopwatch: Stopwatch, *, tuned: bool) -> None:
        self.job, self.stopwatch, self.tuned = job, stopwatch, tuned
        # padding before a text moves it away from PEFT's prompt, so that a row's loss would depend on its batch
        self.tokenizer = AutoTokenizer.from_pretrained(job.model, padding_side="right")
        self.family = family(AutoConfig.from_pretrained(job.model))
        self.seq2seq = self.family == "encoder-decoder"
        self.answers = CausalAnswers.of(self.tokenizer, job) if self.family == "decoder" else None
        self.fixed = job.padding == "max_length" and not tuned
        self.data: dict[str, Dataset] = {}
        self.choices = len(job.rows()["train"][0]["choices"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = self._peft_model().to(job.device)
        self.prompt: nn.Parameter = self.model.prompt_encoder["default"].embedding.weight
        is_classifier = self.family == "encoder"
        self.head: Any = self.model.base_model.classifier.modules_to_save["default"] if is_classifier else None
        if self.tuned and self.head is not None:  # as prunekit: a float32 head on the model's states
            self.head.float().register_forward_pre_hook(lambda _, states: states[0].float())

    # ---- what the protocol asks for

    def encode(self, rows: Rows) -> None:
        """Both splits as datasets of token ids; the tuned peer sorts the validation split by length."""
        for split, part in rows.items():
            table = Dataset.from_list([{name: row[name] for name in ("text", "label", "answer")} for row in part])
            encoded = table.map(
                self._encoded,
                batched=True,
                remove_columns=table.column_names,
                load_from_cache_file=False,
                new_fingerprint=split,  # else the whole peer is pickled for one
            )
            if self.tuned and split == "validation":
                encoded = encoded.select(np.argsort([len(ids) for ids in encoded["input_ids"]], kind="stable"))
            self.data[split] = encoded

    def start(self) -> Start:
        """The job's starting prompt, as the model holds it."""
        head = None if self.head is None else zero_head(self.choices, self.head.in_features)
        start = Start(Mask.full(self.job.prompt_tokens, self.job.pieces), self.job.start(), head)
        self._put(start)
        return Start(start.mask, *self._values())

    def train(self, starts: Sequence[Start], steps: int, phase: str) -> list[RoundResult]:
        """One after the other, each by a Trainer of its own."""
        return [self._train(start, steps, phase) for start in starts]

    def train_alone(self, start: Start, steps: int, phase: str) -> RoundResult:
        """By a Trainer that evaluates nothing."""
        self._put(start)
        clock = Clock()
        with self.stopwatch(phase):
            trainer = self._trainer(steps, clock, evaluates=False)
            trainer.train()
        return RoundResult(*self._values(), (), (), trainer.state.global_step, tuple(clock.moments))

    def loss(self, start: Start, count: int) -> float:
        """The model's own loss of one batch."""
        self._put(start)
        self.model.eval()
        batch = self._collator()([self.data["train"][index] for index in range(count)])
        with torch.no_grad():
            return float(self.model(**{name: tensor.to(self.job.device) for name, tensor in batch.items()}).loss)

    def accuracy(self, start: Start) -> float:
        """By the Trainer's own evaluation."""
        self._put(start)
        trainer = self._trainer(1, Clock(), evaluates=False)
        trainer.stopwatch, trainer.evaluations = self.stopwatch, []
        return float(trainer.evaluate()["eval_accuracy"])

    def score(self, start: Start) -> Scores:
        """A batch-of-one loop over the training rows."""
        self._put(start)
        self.model.eval()
        token = torch.zeros(self.job.prompt_tokens, dtype=torch.float64)
        piece = torch.zeros(self.job.prompt_tokens, self.job.pieces, dtype=torch.float64)
        collate, rows = self._collator(), self.data["train"]
        for row in rows:
            batch = {name: tensor.to(self.job.device) for name, tensor in collate([row]).items()}
            self.model.zero_grad(set_to_none=True)
            self.model(**batch).loss.backward()
            assert self.prompt.grad is not None
            values, gradient = self._used_rows(self.prompt.detach()), self._used_rows(self.prompt.grad)
            of_token, of_piece = signed_slopes(values.double().cpu(), gradient.double().cpu(), self.job.pieces)
            token, piece = token + of_token.abs(), piece + of_piece.abs()
        return Scores(token / len(rows), piece / len(rows), len(rows))

    def ids(self) -> Iterable[Sequence[int]]:
        """Token ids of the training texts."""
        rows = self.data["train"]
        pairs = zip(rows["input_ids"], rows["attention_mask"], strict=True)
        texts = [[token for token, real in zip(ids, mask, strict=True) if real] for ids, mask in pairs]
        return texts if self.answers is None else list(map(self.answers.text, texts, rows["labels"]))

    # ---- how it is done

    def _peft_model(self) -> Any:
        options: dict[str, Any] = {"dtype": torch.bfloat16 if self.tuned else torch.float32}
        automatic, kind = _CLASSES[self.family]
        if self.tuned:
            options |= _NO_DROPOUT[self.family]
        if self.family == "encoder":
            options["num_labels"] = self.choices
        model = automatic.from_pretrained(self.job.model, **options)
        return get_peft_model(model, PromptTuningConfig(task_type=kind, num_virtual_tokens=self.job.prompt_tokens))

    def _encoded(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        if self.answers is not None:
            return self.answers.encoded(rows["text"], rows["answer"])
        fixed: dict[str, Any] = {"padding": "max_length", "max_length": self.job.max_length} if self.fixed else {}
        encoded = dict(self.tokenizer(rows["text"], truncation=self.fixed, **fixed))
        encoded["labels"] = self._labels(rows["answer"]) if self.seq2seq else rows["label"]
        return {name: encoded[name] for name in ("input_ids", "attention_mask", "labels")}

    def _labels(self, answers: list[str]) -> list[list[int]]:
        width = self.job.answer_tokens if self.fixed else 0
        ids = self.tokenizer(text_target=answers)["input_ids"]
        return [[*answer, *[_IGNORED] * (width - len(answer))] for answer in ids]

    def _collator(self) -> Any:
        if self.answers is not None:
            fixed = {"padding": "max_length", "max_length": self.job.max_length + 1} if self.fixed else {}
            return DataCollatorForSeq2Seq(self.tokenizer, **fixed)
        if self.fixed:
            return default_data_collator
        return DataCollatorForSeq2Seq(self.tokenizer) if self.seq2seq else DataCollatorWithPadding(self.tokenizer)

    def _used_rows(self, table: Tensor) -> Tensor:
        """The P rows that are used; PEFT keeps as many again for a decoder, and never reads them."""
        return table[: self.job.prompt_tokens]

    def _put(self, start: Start) -> None:
        with torch.no_grad():
            masked = start.values * start.mask.expand(start.values.shape[1])
            self._used_rows(self.prompt).copy_(masked)
            for name, value in (start.head or {}).items():
                getattr(self.head, name).copy_(value)

    def _values(self) -> tuple[Tensor, dict[str, Tensor] | None]:
        values = self._used_rows(self.prompt).detach().cpu().clone()
        if self.head is None:
            return values, None
        return values, {name: value.detach().cpu().clone() for name, value in self.head.named_parameters()}

    def _train(self, start: Start, steps: int, phase: str) -> RoundResult:
        with self.stopwatch(phase):
            self._put(start)
            keep = start.mask.expand(start.values.shape[1]).to(self.prompt)
            trainer = self._trainer(steps, _KeepMasked(self._used_rows(self.prompt), keep))
            trainer.stopwatch, trainer.evaluations = self.stopwatch, []
            trainer.train()
        metrics = trainer.evaluations
        return RoundResult(
            *self._values(),
            accuracies=tuple(metric["eval_accuracy"] for metric in metrics),
            losses=tuple(metric.get("eval_loss") for metric in metrics),
            updates=trainer.state.global_step,
        )

    def _trainer(self, steps: int, callback: TrainerCallback, *, evaluates: bool = True) -> Any:
        kind: Any = _WatchedTrainer
        if self.seq2seq:
            kind = _TunedSeq2SeqTrainer if self.tuned else _WatchedSeq2SeqTrainer
        optimizer = self._optimizer()
        warmup = max(1, math.ceil(self.job.warmup_fraction * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
        trainer = kind(
            model=self.model,
            args=self._arguments(steps, evaluates=evaluates),
            train_dataset=self.data["train"],
            eval_dataset=self.data["validation"],
            data_collator=self._collator(),
            processing_class=self.tokenizer,
            compute_metrics=self._metrics(),
            preprocess_logits_for_metrics=None if self.answers is None else self.answers.choice_logits,
            optimizers=(optimizer, schedule),
            callbacks=[callback],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _metrics(self) -> Any:
        if self.answers is not None:
            return self.answers.accuracy
        return self._matches if self.seq2seq else _accuracy

    def _arguments(self, steps: int, *, evaluates: bool) -> Seq2SeqTrainingArguments:
        job = self.job
        return Seq2SeqTrainingArguments(
            output_dir=str(Path(job.folder) / "trainer"),
            max_steps=steps,
            per_device_train_batch_size=job.batch_size,
            per_device_eval_batch_size=_TUNED_ROWS if self.tuned else job.batch_size,
            train_sampling_strategy="group_by_length" if self.tuned else "random",
            eval_strategy="steps" if evaluates else "no",
            eval_steps=job.evaluate_every,
            eval_on_start=evaluates,  # as prunekit does, so that all sides evaluate equally often
            max_grad_norm=job.clip_norm,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            label_names=["labels"],
            seed=job.seed,
            use_cpu=job.device == "cpu",
            dataloader_pin_memory=job.device != "cpu",
            predict_with_generate=self.seq2seq,
            generation_max_length=job.answer_tokens + 1 if self.seq2seq else None,  # the start token counts
        )

    def _optimizer(self) -> torch.optim.AdamW:
        """The rates that prunekit uses, through Trainer's own `optimizers` argument."""
        groups: list[dict[str, Any]] = [{"params": [self.prompt], "lr": self.job.learning_rate}]
        if self.head is not None:
            groups.append({"params": list(self.head.parameters()), "lr": self.job.head_learning_rate})
        return torch.optim.AdamW(groups, weight_decay=self.job.weight_decay)

    def _matches(self, prediction: EvalPrediction) -> dict[str, float]:
        """The share of generated texts that are the answer."""
        texts = []
        for table in (prediction.predictions, prediction.label_ids):
            ids = np.where(table == _IGNORED, self.tokenizer.pad_token_id, table)
            texts.append([text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)])
        return {"accuracy": float(np.mean([text == answer for text, answer in zip(*texts, strict=True)]))}


class _Watched:
    """A Trainer whose evaluations are timed apart from its training, and kept."""

    stopwatch: Stopwatch
    evaluations: list[dict[str, float]]

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Trainer's own evaluation."""
        with self.stopwatch(EVALUATE):
            metrics: dict[str, float] = super().evaluate(*arguments, **options)  # type: ignore[misc]
        self.evaluations.append(metrics)
        return metrics


class _WatchedTrainer(_Watched, Trainer):
    """For classifiers."""


class _WatchedSeq2SeqTrainer(_Watched, Seq2SeqTrainer):
    """For encoder-decoders: answers are generated, and their loss computed by another forward pass."""


class _TunedSeq2SeqTrainer(_WatchedSeq2SeqTrainer):
    """Generates alone."""

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The generated ids, without a loss."""
        labels = inputs.pop("labels")
        _, ids, _ = super().prediction_step(model, inputs, *arguments, **options)
        return None, ids, labels


class Clock(TrainerCallback):
    """When each update ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by Trainer."""
        self.moments.append(time.perf_counter())


class _KeepMasked(TrainerCallback):
    """Sets dropped cells to zero after every update."""

    def __init__(self, values: Tensor, keep: Tensor) -> None:
        self.values, self.keep = values, keep

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called by Trainer."""
        with torch.no_grad():
            self.values.mul_(self.keep)


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}
