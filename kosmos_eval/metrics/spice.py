"""SPICE through pycocoevalcap's jar, where its parser is installed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.metrics import java

PARSER = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
# Its serialiser (FST 2.47) reaches into classes that Java has closed since.
OPENED = ("lang", "math", "net", "nio", "text", "util", "util.concurrent")


class SpiceUnavailable(KosmosEvalError):
    """SPICE cannot run here."""


def spice_scores(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> list[float]:
    """The SPICE F-score of each candidate, in 0..1; nan where neither side holds anything to compare.

    Args:
        candidates: image to caption, tokenised.
        references: image to its captions, tokenised.

    Raises:
        SpiceUnavailable: if Stanford CoreNLP is not there (nothing is downloaded), or the program fails.
    """
    from pycocoevalcap.spice import spice

    jar = Path(spice.__file__).with_name(spice.SPICE_JAR)
    missing = [name for name in PARSER if not (jar.parent / "lib" / name).is_file()]
    if missing:
        raise SpiceUnavailable(
            f"SPICE is left out: {' and '.join(missing)} not in {jar.parent / 'lib'};"
            " fetch them once with: python -m pycocoevalcap.spice.get_stanford_models"
        )
    items = [{"image_id": i, "test": text, "refs": list(references[i])} for i, text in candidates.items()]
    opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in OPENED]
    with TemporaryDirectory() as name:
        given, made, cache = (Path(name, part) for part in ("given.json", "made.json", "cache"))
        given.write_text(json.dumps(items), encoding="utf-8")
        cache.mkdir()
        command: list[str | Path] = ["--enable-native-access=ALL-UNNAMED", *opened, "-Xmx8G", "-jar", jar, given]
        command += ["-cache", cache, "-out", made, "-subset", "-silent"]
        try:
            java.run(command, program="SPICE")
        except KosmosEvalError as error:
            raise SpiceUnavailable(f"SPICE is left out: {error}") from error
        found = {item["image_id"]: item["scores"]["All"]["f"] for item in json.loads(made.read_text(encoding="utf-8"))}
    return [float("nan") if found[image] is None else float(found[image]) for image in candidates]
