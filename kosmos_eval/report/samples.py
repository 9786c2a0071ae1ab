"""Every sample of a run as a page can show it: plain values, with images as places in an album."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import isfinite

from kosmos_eval.analysis.saved_run import SavedSetting
from kosmos_eval.errors import BadImage
from kosmos_eval.evaluation.evaluator import digest
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.files import Json
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


def entries(saved: SavedSetting, setting: Setting | None, album: Album, *, number: int) -> Iterator[Json]:
    """Return a setting's samples in order, those that were asked.

    Args:
        saved: the setting as the run's folder holds it.
        setting: the same with its prompts; None where these cannot be made again.
        album: where thumbnails go.
        number: the setting's number on the page.
    """
    if setting is None:
        yield from ({**_entry(saved, record, number), **_without_prompt(record)} for record in saved.records)
        return
    for sample in setting.samples:
        if (record := saved.record(sample.id)) is not None:
            yield {**_entry(saved, record, number), **_with_prompt(setting, sample, record, album)}


def _entry(saved: SavedSetting, record: Record, number: int) -> Json:
    """Return what a run's folder holds of a sample."""
    own = {name: value for name, value in saved.values.get(record.id, {}).items() if isfinite(value)}
    sample = record.sample
    return {
        "setting": number,
        "id": sample.id,
        "kind": sample.kind,
        "outcome": outcome(record, list(own.values())[:1], corpus=bool(saved.corpus)),
        "values": own,
        "answer": record.score.answer if record.score else "",
        "target": sample.target,
        "references": list(sample.references),
        "error": record.error or "",
    }


def _without_prompt(record: Record) -> Json:
    """Return the answers to a sample whose prompt cannot be made again."""
    choices, outputs = record.sample.choices, record.outputs if record.error is None else ()
    labels = choices if len(choices) == len(outputs) > 1 else ("",) * len(outputs)
    requests = [
        {"label": label, "parts": [], "how": "", **_said(choices, output)}
        for label, output in zip(labels, outputs, strict=True)
    ]
    empty = [{"label": "", "parts": [], "how": ""}]
    return {"changed": False, "shown": 0, "shots": [], "opening": [], "ending": [], "requests": requests or empty}


def outcome(record: Record, headline: Sequence[float], *, corpus: bool) -> str:
    """Return failed, correct (full credit), partial, incorrect (none), or nothing where values do not say."""
    if record.error is not None:
        return "failed"
    if corpus or not headline or not 0 <= headline[0] <= 1:
        return ""
    return {0.0: "incorrect", 1.0: "correct"}.get(float(headline[0]), "partial")


def _with_prompt(setting: Setting, sample: Sample, record: Record, album: Album) -> Json:
    """The prompt as it was asked, made again; ``changed`` where the data no longer give it.

    What all requests of the sample begin and end with stands once, in ``opening`` and ``ending``.
    """
    shown: Sequence[Sample] = setting.demonstrations(sample)
    shown = shown[len(shown) - record.shown :]
    requests = _requests(setting, sample, shown, record)
    bare = _requests(setting, sample, [], record) if shown else requests
    pairs = [_split(full.prompt, query.prompt) for full, query in zip(requests, bare, strict=True)]
    queries = [query for _, query in pairs]
    opening = _shared(queries)
    ending = _shared([query[len(opening) :][::-1] for query in queries])[::-1] if len(queries) > 1 else ()
    labels = sample.choices if len(sample.choices) == len(requests) else ("",) * len(requests)
    outputs = record.outputs if record.error is None else ()
    return {
        "changed": _changed(setting, sample, shown, record),
        "shown": record.shown,
        "shots": [album.place(part, demonstration=True) for part in pairs[0][0]],
        "opening": [album.place(part) for part in opening],
        "ending": [album.place(part) for part in ending],
        "requests": [
            {
                "label": label,
                "parts": [album.place(part) for part in query[len(opening) : len(query) - len(ending)]],
                "how": asked_for(request),
                **(_said(_continuations(request), outputs[place]) if place < len(outputs) else {}),
            }
            for place, (label, query, request) in enumerate(zip(labels, queries, requests, strict=True))
        ],
    }


def _requests(setting: Setting, sample: Sample, shots: Sequence[Sample], record: Record) -> list[Request]:
    """Return the requests of every turn that was answered."""
    requests = setting.requests(sample, shots)
    while record.error is None and len(requests) < len(record.outputs):
        later = setting.requests(sample, shots, record.outputs[: len(requests)])
        if not later:
            break
        requests += later
    return requests


def _changed(setting: Setting, sample: Sample, shots: Sequence[Sample], record: Record) -> bool:
    try:
        return record.prompt not in ("", digest(setting.requests(sample, shots)))
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


def _continuations(request: Request) -> Sequence[str]:
    return request.continuations if isinstance(request, LogLikelihood) else ()


def _said(continuations: Sequence[str], output: Output) -> Json:
    """Return the text that was generated, or the likeliest continuations with log-probability and tokens."""
    if not isinstance(output, Likelihoods):
        return {"text": output.text, "logprob": output.logprob, "cut": not output.finished}
    known = len(continuations) == len(output.logprobs)
    strings = continuations if known else ("",) * len(output.logprobs)
    lines = sorted(zip(strings, output.logprobs, output.tokens, strict=True), key=lambda line: -line[1])
    return {"likelihoods": lines[:LISTED], "more": max(0, len(lines) - LISTED)}
