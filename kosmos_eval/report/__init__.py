"""Reports of finished runs: on the console, as CSV, as pages of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kosmos_eval.analysis.saved_run import SavedRun


def write(folder: Path | str, *, data: Path | None = None, rescore: bool = False) -> SavedRun:
    """Write the ``report.html`` and ``scores.csv`` of a run's folder.

    Args:
        folder: the folder of a run that `kosmos_eval.evaluate` or the command line made.
        data: where the official files lie now, if they have moved; prompts and images are shown from there.
        rescore: compute the scores from the samples again, rather than read them.

    Returns:
        The run.

    Raises:
        KosmosEvalError: if there is no run, it is damaged, or scores have to be computed and the data are gone.
    """
    from kosmos_eval.analysis.saved_run import open_run
    from kosmos_eval.evaluation.run_folder import SCORES
    from kosmos_eval.report.html import page

    saved = open_run(Path(folder), data=data, rescore=rescore)
    content = page(saved)
    saved.run.write(SCORES, saved.report.csv())
    saved.run.write("report.html", content)
    return saved
