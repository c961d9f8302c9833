"""One process of a team, started by torchrun (or alone): trains a small cohort and writes what it came to.

team_member.py OUT KIND DTYPE STEPS NPROC
"""

import json
import sys
from pathlib import Path

import tiny
import torch

from prunekit.engine import distributed, train
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.gradient_scores import all_scores, scoring_batches
from prunekit.tasks.decoding import Decoding


def main(out: Path, kind: str, dtype: torch.dtype, steps: int, processes: int) -> None:
    team = distributed.join(processes)
    torch.set_num_threads(1)
    bone = tiny.frozen(kind, dtype=dtype)
    cohort = [tiny.ticket(bone, seed=seed, dtype=dtype) for seed in range(3)]
    gradients = []
    step = train._Learner.step

    def noted(self, loss):
        gradients.append([one.grad.clone() for one in self.member.parameters()])
        step(self, loss)

    train._Learner.step = noted
    sent = []
    plan = tiny.plan(
        train_steps=steps, evaluate_every=steps, batch_size=5
    )  # 5 rows: 3 for one process, 2 for the other
    trained = train.train(cohort, bone, tiny.training_data(bone), plan, tick=lambda done: sent.append(team.sent))
    scores = all_scores(cohort, bone, scoring_batches(bone, tiny.training_data(bone).train))
    written = []
    if kind != "bert":  # it cannot write
        prompts = prompt_batch([Member(ticket, bone.device) for ticket in cohort])
        drawn = Decoding(max_tokens=3, temperature=1.0, seed=2)
        questions = tiny.encoded(bone, tiny.open_examples(41))
        written = [[text.ids for text in one.written] for one in distributed.answer(prompts, bone, questions, drawn)]
    facts = {
        "written": written,
        "gradients": [[one.tolist() for one in member] for member in gradients[:3]],
        "values": [one.last.values.state["values"].tolist() for one in trained],
        "losses": [one.last.evaluation.losses.tolist() for one in trained],
        "scores": [one["absolute"].token.tolist() for one in scores],
        "sent": sent,
        "numbers": sum(one.numel() for member in gradients[:3] for one in member),
    }
    (out / f"{team.rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    place, model, name, count, size = sys.argv[1:]
    main(Path(place), model, getattr(torch, name), int(count), int(size))
