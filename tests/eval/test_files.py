import json
import os
import string
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from kosmos_eval import files
from kosmos_eval.files import redacted, register_secret, regular, user_info

NAMES = ["api_key", "apikey", "API-KEY", "Api_Key", "x-api-key", "auth_token", "TOKEN", "client_secret", "password"]
EXAMPLES = int(os.environ.get("KOSMOS_EVAL_EXAMPLES", "6"))
PLAIN = string.ascii_letters + string.digits + "-._~"


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    monkeypatch.setattr(files, "_known", {})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    [
        "{}=S3cr3t",
        "{} = S3cr3t of mine",
        "{}: S3cr3t",
        " {}=S3cr3t\nS3cr3t",
        "--{}=S3cr3t",
        "https://h/v1?a=b&{}=S3cr3t",
    ],
)
def test_no_option_shows_a_secret(name, form):
    shown = redacted({"command": ["run", form.format(name)], "options": {name: "S3cr3t", "seed": 3}})
    assert "S3cr3t" not in json.dumps(shown)
    assert shown["options"] == {name: "***", "seed": 3}


@pytest.mark.parametrize(
    "text",
    [
        "https://h/x?X-Amz-Signature=S3cr3t&X-Amz-Credential=S3cr3t",
        "Illegal header value b'Bearer S3cr3t\\n'",
        "got Authorization: Basic bWU6UzNjcjN0",
        "authorization: S3cr3t",
        "{'api_key': 'S3cr3t'}",
        '{"x-api-key": "S3cr3t"}',
        "HTTPSConnectionPool: /v1?sig=S3cr3t failed",
        "https://h/x?api-key=S3cr3t: refused",
        "see https://h/x?api%2Dkey=S3cr3t#access_token=S3cr3t",
        f"Incorrect: sk-{'S3cr3t' * 5}",
    ],
)
def test_no_message_shows_a_secret(text):
    assert "S3cr3t" not in redacted(text) and "bWU6" not in redacted(text)


@pytest.mark.parametrize("info", ["me:p@ss", "me:p/ss", "p@s/s@x", "me:p?ss", "me:p#ss", ":pass", "me:"])
@pytest.mark.parametrize("rest", ["host/v1", "host:80", "[::1]:80/v1?x=1"])
def test_a_url_shows_its_place_without_user_and_password(info, rest):
    assert user_info(f"{info}@{rest}") == (info, rest)
    assert redacted(f"at http://{info}@{rest} now") == f"at http://***@{rest} now"


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8000/v1?next=a@b&page=2",
        "data/monkeys, 20 tokens: 5 kept",
        "has no 'annotations' at its top level; expected the official format with ('key', 'token')",
        "/home/me@work/data",
        "Basic authentication is refused",
        "1234 tokens=many",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redacted(text) == text


@given(st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_a_known_secret_is_hidden_wherever_it_occurs_and_however_it_is_spelled(secret, before, after):
    files._known.clear()
    secret = f"{secret.strip()}9x8Y7z6W"
    register_secret(f" {secret}\n")
    data = secret.encode("utf-8", "surrogatepass")
    basic = b64encode(before.encode("utf-8", "replace") + b":" + data).decode()
    for spelled in (secret, quote(data, safe=""), quote_plus(data), repr(secret)[1:-1], b64encode(data).decode()):
        assert spelled not in redacted(f"{before}{spelled}{after}")
    known = b64encode(data)[4:-8].decode()
    assert len(known) < 8 or known not in redacted(basic) + redacted(urlsafe_b64encode(data).decode())


def test_the_secrets_of_the_environment_are_known(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "S3cr3t-of-mine")
    files.register_environment()
    assert redacted("401 for S3cr3t-of-mine") == "401 for ***"


def test_a_key_that_anybody_may_use_is_no_secret():
    for key in ("test", "EMPTY", " x "):
        register_secret(key)
    assert redacted({"split": "test", "text": "EMPTY x"}) == {"split": "test", "text": "EMPTY x"}
    assert redacted({"command": ["api_key=test"]}) == {"command": ["api_key=***"]}


@given(
    st.recursive(
        st.text(PLAIN) | st.integers() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(PLAIN), inner),
    )
)
def test_what_is_redacted_stays_so(value):
    files._known.clear()
    assert redacted(redacted(value)) == redacted(value)


def test_a_folder_or_a_device_is_no_regular_file(tmp_path):
    (tmp_path / "file").touch()
    assert regular(tmp_path / "file").st_size == 0
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="expected a regular file"):
            regular(path)


FIXTURES = Path(__file__).parents[1] / "fixtures"
WORD = st.text(string.ascii_letters + string.digits, min_size=9, max_size=12)
BETWEEN = [
    "",
    "@",
    "/",
    ":",
    "?",
    "#",
    "&",
    "=",
    "%",
    "+",
    " ",
    "\n",
    "\t",
    "'",
    '"',
    "\\",
    "<",
    "\u00e9",
    "\x1b",
    ";",
    ",",
]
PLACES = {
    "environment": ("{url}", (), "{key}"),
    "its end": ("{url}", (), "{key}\n"),
    "option": ("{url}", ("api_key={key}",), ""),
    "blanks": ("{url}", ("api_key = {key}",), ""),
    "other name": ("{url}", ("API-KEY={key}",), ""),
    "header": ("{url}", ("Authorization: Bearer {key}",), ""),
    "user": ("http://{key}@{place}", (), ""),
    "password": ("http://me:{key}@{place}", (), ""),
    "parameter": ("{url}?api-key={key}", (), ""),
    "other parameter": ("{url}/?x=1&sig={key}", (), ""),
    "base": ("", (), ""),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    command = [sys.executable, FIXTURES / "openai_server.py", tmp_path_factory.mktemp("server") / "log.jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield f"127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.kill()


def ran(folder, place, key, name, prompt):
    """All that a run prints and writes, with a key in one of the `PLACES`."""
    given, options, environment = PLACES[name]
    address = given.format(url=f"http://{place}", place=place, key=key)
    asked = ["--task-file", FIXTURES / "leaky.py", "--task-option", f"leaky.prompt={prompt}", "--shots", "0"]
    asked += ["--model", f"openai:m@{address}" if address else "openai:m", "--model-option", "retries=0"]
    asked += [part for option in options for part in ("--model-option", option.format(key=key))]
    asked += [
        part for tracker in ("tensorboard", "mlflow", "wandb") if find_spec(tracker) for part in ("--tracker", tracker)
    ]
    variables = {**os.environ, "OPENAI_API_KEY": environment.format(key=key)}
    variables["OPENAI_BASE_URL"] = f"http://me:{key}@{place}" if name == "base" else ""
    command = [sys.executable, "-m", "kosmos_eval", "run", *asked, "--out", folder / "run"]
    done = subprocess.run(command, env=variables, capture_output=True, cwd=folder)
    assert (b"Traceback" in done.stderr) == (prompt == "bug" and done.returncode == 1), done.stderr.decode()
    written = b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())
    return done.returncode, (done.stdout + done.stderr + written).decode("utf-8", "replace")


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@example(("000000000", "?", "rDfds8u2a1uB"), "user", "say x")
@given(
    st.tuples(WORD, st.sampled_from(BETWEEN), WORD),
    st.sampled_from(list(PLACES)),
    st.sampled_from(["say x", "always crash", "locked", "shown", "bug", "dead"]),
)
def test_a_run_shows_a_secret_nowhere(server, secret, name, prompt):
    with TemporaryDirectory() as folder:
        place = "127.0.0.1:9/v1" if prompt == "dead" else server
        _, everything = ran(Path(folder), place, "".join(secret), name, prompt)
    assert secret[0] not in everything and secret[2] not in everything


def test_a_run_with_a_key_works_and_the_traceback_of_a_bug_hides_it(server, tmp_path):
    (tmp_path / "fine").mkdir()
    code, everything = ran(tmp_path / "fine", server, "sk-of-mine-1", "option", "say x")
    assert code == 0 and "api_key=***" in everything and "sk-of-mine-1" not in everything
    code, everything = ran(tmp_path, server, "sk-of-mine-1", "environment", "bug")
    assert code == 1 and "RuntimeError: ***" in everything and "sk-of-mine-1" not in everything
