"""Pages of HTML that need no network: one style, one script at most, nothing else may run."""

import base64
from hashlib import sha256
from importlib.resources import files
from math import isfinite
from typing import Any

from kosmos_eval.report.units import bare, interval, shown


def rendered(template: str, *, script: str = "", **values: Any) -> str:
    """A page of a template; every value is escaped.

    Args:
        template: its name in ``templates``.
        script: the name of the script that the page runs; the page's policy allows no other.
        values: what the template shows.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    folder = files("kosmos_eval.report") / "templates"
    code = (folder / script).read_text(encoding="utf-8") if script else ""
    environment = Environment(
        loader=PackageLoader("kosmos_eval.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        "parted": lambda name: Markup("_<wbr>").join(name.split("_")),
        "shown": shown,
        "bare": bare,
        "interval": lambda row: interval(row.low, row.high, row.unit, last=shown, none="–"),
        "ends": interval,
        "finite": isfinite,
    }
    return environment.get_template(template).render(
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        script=Markup(code),
        digest=base64.b64encode(sha256(code.encode()).digest()).decode(),
        **values,
    )
