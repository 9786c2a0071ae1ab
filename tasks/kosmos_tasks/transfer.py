"""``kosmos-eval transfer``: two models on one suite, their difference beside the one that the paper reports.

Language-only instruction tuning carries over to images (KOSMOS-1 Tables 6 and 14), and images carry over to language
(Tables 13 and 16). The first is what the command compares by itself, the second is ``--suite kosmos1-language
--paper-before LLM`` with a text-only model before.
"""

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.analysis import published
from kosmos_eval.analysis.compare import Compared
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.source import Source

TUNED = published.OURS
UNTUNED = "KOSMOS-1 without LOIT"


def command(
    before: Annotated[str, typer.Argument(help="The model before, as for `run --model`.")],
    after: Annotated[str, typer.Argument(help="The model after.")],
    suite: Annotated[str, typer.Option("--suite", help="What both are asked.")] = "kosmos1-transfer",
    paper_before: Annotated[str, typer.Option("--paper-before", help="The paper's model before.")] = UNTUNED,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of official files; default: synthetic splits.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="A seeded subset of so many samples.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides demonstrations, the subset, the bootstrap.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    out: Annotated[Path, typer.Option("--out", help="Holds both runs.")] = Path("results/runs/transfer"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard what the folder holds.")] = False,
) -> None:
    """Evaluate a model before and after a training, and print the difference beside the paper's.

    The same command again resumes what was interrupted.
    """
    from kosmos_eval.analysis.compare import compare
    from kosmos_eval.cli import run
    from kosmos_eval.report import comparison

    known = sorted({each.model for each in published.every()})
    if paper_before not in known:
        raise KosmosEvalError(f"the paper has no model {paper_before!r}; it has {', '.join(known)}")
    source = Source("synthetic" if data is None else "data", data)
    tasks, counts = run.suite(suite, source, shots=None, seed=seed, splits=None, options=())
    for side, model in (("before", before), ("after", after)):
        asking = run.Asking(model, (), device, counts, limit, seed)
        run.run(asking, tasks, folder=out / side, fresh=fresh)
    found = compare(out / "before", out / "after", seed=seed)
    comparison.print_comparison(found, run.console, changes=0)
    for line in beside_the_paper(found.rows, before=paper_before):
        run.console.print(line, highlight=False, soft_wrap=True, markup=False)


def beside_the_paper(rows: tuple[Compared, ...], *, before: str) -> list[str]:
    """Return a line for each row that the paper has too: our difference and the paper's, in the paper's units."""
    lines = []
    for row in rows:
        first = published.reported(row.name, row.shots, row.metric, model=before)
        second = published.reported(row.name, row.shots, row.metric, model=TUNED)
        if first is None or second is None or row.variant:
            continue
        scale = 100 if first.unit == "x100" or row.unit == "%" else 1
        doubt = " (unverified)" if first.unverified or second.unverified else ""
        lines.append(
            f"{row.name}, {row.shots} shots, {row.metric}: here {scale * row.difference.value:+.1f}; in the paper "
            f"{second.score - first.score:+.1f}, {before} {first.score:g} to {second.score:g}{doubt}, {first.protocol}"
        )
    return lines or ["the paper has no numbers of both models for these tasks"]
