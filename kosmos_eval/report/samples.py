"""Every sample of a run as a page can show it: plain values, with images as places in an album."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import isfinite
from typing import Any

from kosmos_eval.errors import BadImage
from kosmos_eval.evaluation.evaluator import digest
from kosmos_eval.evaluation.plan import Setting, demonstrations
from kosmos_eval.evaluation.run_folder import Record, Run
from kosmos_eval.evaluation.scores import has_sample_metrics, marks
from kosmos_eval.prompt import Part, Prompt
from kosmos_eval.report.prompts import asked_for, data_url
from kosmos_eval.request import Likelihoods, LogLikelihood, Output, Request
from kosmos_eval.sample import Sample

UNREADABLE, LEFT_OUT = -1, -2
"""Places of images that do not decode, and of demonstrations' images that an album has no room for."""

LISTED = 20
"""Continuations of one request that are listed, the likeliest first."""


@dataclass
class Album:
    """Thumbnails as data URLs, each distinct image once.

    Args:
        side: their longest side, in pixels.
        room: bytes after which images of demonstrations are left out; those of the samples themselves never are.
        urls: the thumbnails, by place.
    """

    side: int
    room: int = 40_000_000
    urls: list[str] = field(default_factory=list)
    size: int = 0
    places: dict[str, int] = field(default_factory=dict)

    def place(self, part: Part, *, demonstration: bool = False) -> str | int:
        """Text as it is; for an image where its thumbnail stands, made when it is first asked for."""
        if isinstance(part, str):
            return part
        try:
            key = part.digest
            if key not in self.places:
                if demonstration and self.size > self.room:
                    return LEFT_OUT
                url = data_url(part, self.side, "WEBP")
                self.places[key] = len(self.urls)
                self.urls.append(url)
                self.size += len(url)
        except BadImage:
            return UNREADABLE
        return self.places[key]


def entries(cell: Setting, run: Run, album: Album, *, number: int) -> Iterator[dict[str, Any]]:
    """A cell's samples in order, those that were asked.

    Args:
        cell: the task at a number of shots.
        run: its records.
        album: where thumbnails go.
        number: the cell's number on the page.
    """
    found = marks(cell, run)
    for sample in cell.samples:
        record = cell.record(run, sample.id)
        if record is not None:
            own = {name: mark for name, mark in found.get(sample.id, {}).items() if isfinite(mark)}
            corpus = has_sample_metrics(cell.task)
            yield {
                "cell": number,
                "id": sample.id,
                "kind": sample.kind,
                "outcome": outcome(record, list(own.values())[:1], corpus=corpus),
                "marks": own,
                "answer": record.score.answer if record.score else "",
                "target": sample.target,
                "references": list(sample.references),
                "error": record.error or "",
                **_asked(cell, sample, record, album),
            }


def outcome(record: Record, headline: Sequence[float], *, corpus: bool) -> str:
    """What became of a sample: failed, right (full credit), partly, wrong (none), or empty where marks do not say."""
    if record.error is not None:
        return "failed"
    if corpus or not headline or not 0 <= headline[0] <= 1:
        return ""
    return {0.0: "wrong", 1.0: "right"}.get(float(headline[0]), "partly")


def _asked(cell: Setting, sample: Sample, record: Record, album: Album) -> dict[str, Any]:
    """The prompt as it was asked, made again; ``changed`` where the data no longer give it.

    What all requests of the sample begin and end with stands once, in ``opening`` and ``ending``.
    """
    shown = demonstrations(cell, sample)
    shown = shown[len(shown) - record.shown :]
    requests = _requests(cell, sample, shown, record)
    bare = _requests(cell, sample, [], record) if shown else requests
    pairs = [_split(full.prompt, query.prompt) for full, query in zip(requests, bare, strict=True)]
    queries = [query for _, query in pairs]
    opening = _shared(queries)
    ending = _shared([query[len(opening) :][::-1] for query in queries])[::-1] if len(queries) > 1 else ()
    labels = sample.choices if len(sample.choices) == len(requests) else ("",) * len(requests)
    outputs = record.outputs if record.error is None else ()
    return {
        "changed": _changed(cell, sample, shown, record),
        "shown": record.shown,
        "shots": [album.place(part, demonstration=True) for part in pairs[0][0]],
        "opening": [album.place(part) for part in opening],
        "ending": [album.place(part) for part in ending],
        "requests": [
            {
                "label": label,
                "parts": [album.place(part) for part in query[len(opening) : len(query) - len(ending)]],
                "how": asked_for(request),
                **(_said(request, outputs[place]) if place < len(outputs) else {}),
            }
            for place, (label, query, request) in enumerate(zip(labels, queries, requests, strict=True))
        ],
    }


def _requests(cell: Setting, sample: Sample, shots: Sequence[Sample], record: Record) -> list[Request]:
    """The requests of every stage that was answered."""
    requests = cell.requests(sample, shots)
    while record.error is None and len(requests) < len(record.outputs):
        later = cell.requests(sample, shots, record.outputs[: len(requests)])
        if not later:
            break
        requests += later
    return requests


def _changed(cell: Setting, sample: Sample, shots: Sequence[Sample], record: Record) -> bool:
    try:
        return record.prompt not in ("", digest(cell.requests(sample, shots)))
    except BadImage:
        return record.prompt != ""


def _split(full: Prompt, query: Prompt) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """A prompt as the demonstrations and the question, which it ends with; all question where it does not."""
    place = len(full.parts) - len(query.parts)
    if place < 0 or not query.parts or full.parts[place + 1 :] != query.parts[1:]:
        return (), full.parts
    first, wanted = full.parts[place], query.parts[0]
    if first == wanted:
        return full.parts[:place], query.parts
    if isinstance(first, str) and isinstance(wanted, str) and first.endswith(wanted):
        return (*full.parts[:place], first[: len(first) - len(wanted)]), query.parts
    return (), full.parts


def _shared(queries: Sequence[Sequence[Part]]) -> tuple[Part, ...]:
    """The parts that all begin with."""
    return tuple(parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*queries, strict=False)))


def _said(request: Request, output: Output) -> dict[str, Any]:
    """The text that was generated, or the likeliest continuations with log-probability, tokens and greediness."""
    if not isinstance(output, Likelihoods):
        return {"text": output.text, "logprob": output.logprob, "cut": not output.finished}
    strings = request.continuations if isinstance(request, LogLikelihood) else ("",) * len(output.logprobs)
    lines = sorted(zip(strings, output.logprobs, output.tokens, strict=True), key=lambda line: -line[1])
    return {"likelihoods": lines[:LISTED], "more": max(0, len(lines) - LISTED)}
