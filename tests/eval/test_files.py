import json
import string
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kosmos_eval import files
from kosmos_eval.files import redacted, register_secret, regular, user_info, without_known

NAMES = ["api_key", "apikey", "API-KEY", "Api_Key", "x-api-key", "auth_token", "TOKEN", "client_secret", "password"]
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


def test_a_short_known_secret_is_hidden_as_a_word():
    register_secret("red")
    assert redacted("red, reddish: 'red'") == "***, reddish: '***'"
    assert without_known("api_key=blue red") == "api_key=blue ***"


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
