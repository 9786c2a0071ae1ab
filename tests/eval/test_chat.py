import io

import pytest
from PIL import Image as Pixels
from typer.testing import CliRunner

from kosmos_eval.cli import chat
from kosmos_eval.cli.app import app
from kosmos_eval.dialogue import Turn, asked, fitting, spoken, written
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.models.scripted import Rule, Scripted
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Sampling


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "my cat.png"
    Pixels.new("RGB", (8, 8), "red").save(path)
    return path


def test_a_line_names_images_where_they_stand(picture):
    said = spoken(f'Is @"{picture}" like @"{picture}" or a@b.c?')
    assert said.parts == ("Is", Image(picture), "like", Image(picture), "or a@b.c?")


def test_images_are_found_in_a_folder(picture):
    picture.rename(picture.with_name("cat.png"))
    assert spoken("@cat.png", picture.parent).images == (Image(picture.with_name("cat.png")),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@nowhere.png what?", "no image nowhere.png"),
        (f"@{'a' * 300}", "no image aaaa"),
        ("@~nobody-of-this-name/cat.png", "no image ~nobody"),
        ("@a\0b", "no image a\0b"),
        ("  ", "nothing is said"),
        ("caf\udce9", r"'caf\\udce9' is not UTF-8"),
    ],
)
def test_what_cannot_be_said_is_told_in_a_line(line, said):
    with pytest.raises(KosmosEvalError, match=said):
        spoken(line)


def test_a_question_follows_the_images_that_begin_it(picture):
    said = Prompt(Image(picture), "What is it, next to ", Image(picture), "?")
    assert written(said, "question").text() == "<image>Question: What is it, next to <image>? Answer:"
    assert written(said, "plain") == said
    assert written(Prompt(Image(picture)), "question").text() == "<image>"


def test_each_turn_stands_below_the_one_before():
    request = asked([Turn(Prompt("a?"), "b")], Prompt("c?"), max_tokens=5, sampling=Sampling(0.5))
    assert request.prompt.text() == "Question: a? Answer: b\nQuestion: c? Answer:"
    assert (request.max_tokens, request.stop, request.sampling) == (5, ("\n",), Sampling(0.5))


def test_the_earliest_turns_are_forgotten_first():
    before = [Turn(Prompt(text), text) for text in "abc"]
    kept, request = fitting(
        before, lambda turns: asked(turns, Prompt("d")), lambda made: "Question: b" not in made.prompt.text()
    )
    assert kept == before[2:]
    assert request.prompt.text() == "Question: c Answer: c\nQuestion: d Answer:"
    with pytest.raises(KosmosEvalError, match="longer than the model's context"):
        fitting(before, lambda turns: asked(turns, Prompt("d")), lambda made: False)


def talk():
    rules = (Rule("red. Answer: sure\n", "blue"), Rule("red. Answer:", "sure"))
    return chat.Talk(Scripted("echo", rules, "hm"))


def test_a_dialogue_remembers_what_was_said(capsys):
    held = talk()
    chat.hold(held, ["What?", "It is red.", "And now?", "/undo", "/new", "And now?"])
    assert capsys.readouterr().out.split() == ["hm", "sure", "blue", "hm"]
    assert held.turns == [Turn(Prompt("And now?"), "hm")]


def test_a_turn_that_fails_leaves_the_dialogue_as_it_was(tmp_path):
    held = talk()
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(KosmosEvalError, match=r"echo cannot answer: .*cannot be decoded"):
        chat.hold(held, ["What?", f"@{tmp_path}/broken.png what?"])
    assert [turn.answer for turn in held.turns] == ["hm"]


def test_somebody_who_types_hears_of_a_mistake_and_goes_on(monkeypatch, capsys):
    lines = iter(["@nowhere.png", "/help", "/save", "What?", "/quit", "never said"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    held = talk()
    chat.hold(held, None)
    said = capsys.readouterr()
    assert "error: there is no image nowhere.png" in said.err
    assert said.out.endswith("hm\n")
    assert said.out.count("/undo") == 3
    assert len(held.turns) == 1


def test_the_page_shows_text_and_images_and_runs_nothing(picture, tmp_path, capsys):
    held = talk()
    chat.hold(held, [f'@"{picture}" <script>alert(1)</script>', f"/save {tmp_path / 'talk.html'}"])
    page = (tmp_path / "talk.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "data:image/png;base64," in page
    assert "<b>hm</b>" in page


def test_the_command_asks_its_arguments_or_a_pipe(tmp_path):
    runner = CliRunner()
    one = runner.invoke(app, ["chat", "scripted:yes", "Is it?", "--html", str(tmp_path / "page.html")])
    assert (one.exit_code, one.stdout) == (0, "yes\n")
    assert "Is it?" in (tmp_path / "page.html").read_text()
    two = runner.invoke(app, ["chat", "scripted:yes"], input="Is it?\n\nReally?\n")
    assert (two.exit_code, two.stdout) == (0, "yes\nyes\n")
    assert isinstance(runner.invoke(app, ["chat", "scripted:yes", "--form", "x"]).exception, KosmosEvalError)
    assert isinstance(
        runner.invoke(app, ["chat", "scripted:yes", "--temperature", "1", "--top-p", "2"]).exception, KosmosEvalError
    )


def test_a_pipe_without_words_an_unknown_command_and_bytes_that_are_no_text_are_told(monkeypatch):
    for content, problem in (
        (b"", "nothing is said; give turns"),
        (b"\n \n", "nothing is said; give turns"),
        (b"/exit\n", "there is no command /exit; expected one of /new"),
        (b"caf\xe9\n", "is not UTF-8"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
        with pytest.raises(KosmosEvalError, match=problem):
            chat.hold(talk(), None)
    with pytest.raises(KosmosEvalError, match="nothing is said; give turns"):
        chat.hold(talk(), [""])
    held = talk()
    chat.hold(held, ["/usr/bin is what?"])
    assert held.turns == [Turn(Prompt("/usr/bin is what?"), "hm")]
