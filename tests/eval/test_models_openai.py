"""Against a real server process that drops connections, refuses, stalls and talks nonsense."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import pytest

from kosmos_eval import evaluate
from kosmos_eval.errors import KosmosEvalError, ModelError, RunError
from kosmos_eval.evaluation.run_config import Environment, Manifest, RunConfig
from kosmos_eval.evaluation.run_folder import load_folder, open_folder
from kosmos_eval.evaluation.setup import load_model
from kosmos_eval.model import Model
from kosmos_eval.models.openai.client import ENVIRONMENT
from kosmos_eval.models.openai.errors import sees_nothing, unreachable
from kosmos_eval.models.openai.model import OpenAIModel
from kosmos_eval.models.usage import UsageLog
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Failure, Generate, Likelihoods, LogLikelihood, Sampling
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score, Task

FIXTURES = Path(__file__).parents[1] / "fixtures"


@contextmanager
def serving(log, *port):
    command = [sys.executable, FIXTURES / "openai_server.py", log, *port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log.jsonl"
    with serving(log) as port:
        yield f"http://127.0.0.1:{port}/v1", log


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def made(server):
    def model(name="m", **options):
        return OpenAIModel(f"{name}@{server[0]}", **{"retries": 2, "timeout": 5.0} | options)

    return model


def logged(server):
    return [json.loads(line) for line in server[1].read_text().splitlines()] if server[1].exists() else []


def answer(model, *requests):
    found = dict(model.answers([Generate(Prompt(r)) if isinstance(r, str) else r for r in requests]))
    assert sorted(found) == list(range(len(requests)))
    return found[0] if len(requests) == 1 else [found[index] for index in range(len(requests))]


def picture(colour, kind="PNG", mode="RGB", **options):
    buffer = io.BytesIO()
    PIL.Image.new(mode, (8, 8), colour).save(buffer, kind, **options)
    return Image(buffer.getvalue())


def test_it_is_a_model_and_a_reply_is_a_completion(made):
    model = made()
    assert isinstance(model, Model)
    assert model.name == "openai:m"
    assert answer(model, "say hello there") == Completion("hello there", tokens=2)


def test_decoding_is_greedy_and_stops_where_asked(made, server):
    request = Generate(Prompt("limits: say one\ntwo"), max_tokens=7, stop=("\n", "a", "b", "c", "d"))
    assert answer(made(), request).text == "one"  # this server does not stop by itself
    sent = logged(server)[-1]
    assert (sent["temperature"], sent["max_tokens"], sent["stop"]) == (0, 7, ["\n", "a", "b", "c"])


def test_a_server_is_told_how_to_draw_at_random(made, server):
    answer(made(), Generate(Prompt("say one"), sampling=Sampling(temperature=0.5, top_p=0.9, seed=3)))
    sent = logged(server)[-1]
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (0.5, 0.9, 3)


def test_images_stand_in_their_places(made, server):
    prompt = Prompt("first ", picture("red"), " then ", picture("blue", "JPEG", quality=100), " and?")
    answer(made(), Generate(prompt))
    assert logged(server)[-1]["text"] == "first <red> then <?> and?"  # JPEG's blue is (0, 0, 254)
    kinds = [part["image_url"]["url"][:16] for part in logged(server)[-1]["messages"][0]["content"][1::2]]
    assert kinds == ["data:image/png;b", "data:image/jpeg;"]


def test_transparency_reaches_the_server_on_white(made, server):
    answer(made(), Generate(Prompt("clear ", picture((0, 0, 0, 0), mode="RGBA"))))
    assert logged(server)[-1]["text"] == "clear <white>"


def test_an_image_that_does_not_decode_fails_its_own_request_and_is_not_sent(made, server):
    before = len(logged(server))
    broken, whole = answer(made(), Generate(Prompt(Image(b"GIF"), "x")), Generate(Prompt("say fine")))
    assert "cannot be decoded" in broken.reason
    assert whole.text == "fine"
    assert len(logged(server)) == before + 1


def test_what_may_pass_is_tried_again(made, server):
    prompts = ["drop: say a", "busy: say b", "crash: say c", "stall: say d"]
    assert [found.text for found in answer(made(timeout=1.0), *prompts)] == ["a", "b", "c", "d"]
    times = [sum(sent["text"] == prompt for sent in logged(server)) for prompt in prompts]
    assert times == [2, 3, 2, 2]


def test_what_does_not_pass_fails_by_name_and_leaves_the_others_alone(made):
    model = made(retries=1, timeout=1.0, api_key="sk-very-secret")
    prompts = ["say ok", "always crash", "always stall", "page", "torn", "other", "long", "muse", "filter say x"]
    ok, *failed = answer(model, *prompts)
    assert ok.text == "ok"
    assert all(isinstance(one, Failure) for one in failed)
    reasons = [one.reason for one in failed]
    assert reasons[0] == "the server answers 500 after 2 tries: oops, Bearer ***"
    assert reasons[1] == "no answer within 1 s, after 2 tries"
    assert reasons[2] == "the server's answer is no JSON: 'please log in'"
    assert reasons[3].startswith("the server's answer is no JSON: ")
    assert reasons[4] == "the server's answer is no completion: \"{'choices': []}\""
    assert reasons[5] == "the server answers 400: This model's maximum context length is 2048 tokens"
    assert reasons[6].startswith("its tokens were over before the answer (finish reason length); a model that reasons")
    assert reasons[7] == "the server's content filter withheld the answer"


def test_a_connection_that_always_drops_fails_its_request_alone(made):
    model = made(retries=0)
    answer(model, "say first")
    dropped, fine = answer(model, "always drop", "say fine too")
    assert dropped.reason.startswith("the connection failed (") and dropped.reason.endswith("after 1 tries")
    assert fine.text == "fine too"


def test_no_server_is_one_line():
    with pytest.raises(
        ModelError, match=r"http://127.0.0.1:9/v1 cannot be reached \(.*\), after 1 tries; .* run again"
    ):
        answer(OpenAIModel("m@http://127.0.0.1:9/v1", retries=0), "say x")


def test_a_wrong_key_or_model_is_one_line_and_shows_no_key(made):
    with pytest.raises(ModelError, match=r"refuses the key \(Incorrect API key provided: \*\*\*\); set OPENAI_API_KEY"):
        answer(made(api_key="sk-1234"), "locked")
    assert "sk-1234" not in repr(made(api_key="sk-1234"))


def test_the_key_comes_from_the_environment(made, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    answer(made(), "key: say x")
    assert logged(server)[-1]["auth"] == "Bearer sk-env"


def test_at_most_so_many_requests_are_under_way_and_answers_stream(made):
    model = made("slow", concurrency=4)
    began = time.monotonic()
    arrivals = [time.monotonic() - began for _ in model.answers([Generate(Prompt(f"say {i}")) for i in range(8)])]
    assert arrivals[-1] > 0.19  # two rounds of 0.1 s
    assert arrivals[0] < arrivals[-1] - 0.05


def test_closing_the_answers_cancels_what_is_under_way(made, server):
    found = made("slow", concurrency=1).answers([Generate(Prompt(f"cancel {i} say x")) for i in range(50)])
    next(found)
    found.close()
    asked = len([sent for sent in logged(server) if sent["text"].startswith("cancel")])
    assert asked < 5
    time.sleep(0.25)
    assert len([sent for sent in logged(server) if sent["text"].startswith("cancel")]) == asked


def test_beams_are_refused_unless_greedy_will_do(made):
    request = Generate(Prompt("say a"), beams=5)
    with pytest.raises(ModelError, match=r"asks for beam search of 5, .* --model-option beams=greedy"):
        answer(made(), request)
    model = made(beams="greedy")
    assert answer(model, request).text == "a"
    assert "greedy decoding instead of beam search of 5" in model.notes


def test_choices_are_listed_and_the_reply_is_matched(made, server):
    model = made()
    choices = (" pig", " piggy bank")
    for said, meant in (("Pig.", " pig"), ("**piggy bank**\nit is", " piggy bank"), ("The answer is pig", " pig")):
        assert answer(model, Generate(Prompt(f"say {said}"), choices=choices)).text == meant
    request = Generate(Prompt("What? "), choices=choices)
    assert answer(model, request).text == "nothing"  # an answer that is no choice stands, and is wrong
    assert logged(server)[-1]["text"] == "What? \nAnswer with one of these, word for word:\npig\npiggy bank"
    assert "choices by text" in model.notes and "1 replies were none of the choices" in model.notes


def test_a_server_that_restricts_answers_is_told_so_in_its_own_way(made, server):
    request = Generate(Prompt("What?"), choices=(" yes", " no"))
    assert answer(made("vllm", choices="guided_choice"), request).text == " no"
    assert logged(server)[-1]["guided_choice"] == ["yes", "no"]
    told = {"structured_outputs": {"choice": ["yes", "no"]}, "regex": "(yes|no)", "grammar": 'root ::= "yes" | "no"'}
    for name, value in told.items():
        failed = answer(made(choices=name), request)
        assert logged(server)[-1][name] == value
        assert failed == Failure(f"the server ignores {name}: 'nothing' is none of the choices")


def test_likelihoods_by_text_are_of_what_the_reply_names(made):
    model = made()
    yes = LogLikelihood(Prompt("say"), (" nothing", " something"))
    assert answer(model, yes) == Likelihoods((0.0, -1.0), (1, 1), (True, False))
    none = LogLikelihood(Prompt("say"), (" yes", " no"))
    assert answer(model, none) == Likelihoods((0.0, 0.0), (1, 1), (False, False))  # an exact tie
    alone = LogLikelihood(Prompt("one: say Yes, it is"), (" Yes",))
    assert answer(model, alone).logprobs == (0.0,)
    assert answer(model, LogLikelihood(Prompt("say Yesterday"), (" Yes",))).logprobs == (-1.0,)
    assert model.notes[:2] == ["likelihoods by the text of the reply", "1 replies were none of the choices"]


def test_likelihoods_of_the_first_token(made):
    from math import exp, log

    model = made(likelihoods="first_token")
    found = answer(model, LogLikelihood(Prompt("is it?"), (" Yes", " No", " Never")))
    assert found.logprobs == pytest.approx((log(exp(-0.5) + exp(-3)), -1.0, -5.0))  # Never: at most the least
    assert found.greedy == (True, False, False)
    assert "first token" in model.notes[0]
    shared = answer(model, LogLikelihood(Prompt("animal?"), (" pig", " pigeon")))
    assert "cannot tell them apart" in shared.reason
    silent = answer(model, LogLikelihood(Prompt("silent"), (" Yes", " No")))
    assert silent.reason == "the answer has no log-probabilities; use likelihoods=text"


def test_a_server_that_never_tells_log_probabilities_is_one_line(made):
    model = made(likelihoods="first_token")
    with pytest.raises(ModelError, match="openai:m: the answer has no log-probabilities; use likelihoods=text"):
        answer(model, LogLikelihood(Prompt("silent"), (" Yes", " No")))


@pytest.mark.parametrize("name", ["sp", "bpe"])
def test_tokens_that_spell_their_blank_are_understood(made, name):
    found = answer(made(name, likelihoods="first_token"), LogLikelihood(Prompt("is it?"), (" Yes", " No")))
    assert found == answer(made(likelihoods="first_token"), LogLikelihood(Prompt("is it?"), (" Yes", " No")))


def test_tokens_by_their_numbers_are_refused(made):
    with pytest.raises(
        ModelError, match=r"names tokens by numbers instead of texts \(vLLM: .*\); use likelihoods=text"
    ):
        answer(made("ids", likelihoods="first_token"), LogLikelihood(Prompt("is it?"), (" Yes", " No")))


@pytest.mark.parametrize("name", ["infinite", "nan", "above", "words", "vast"])
@pytest.mark.parametrize("options", [{"likelihoods": "first_token"}, {"endpoint": "completions"}])
def test_a_log_probability_that_is_none_fails_its_sample(made, name, options):
    failed = answer(made(name, **options), LogLikelihood(Prompt("is it?"), (" Yes", " No")))
    assert isinstance(failed, Failure) and failed.reason.startswith("a log-probability of the answer is ")


def test_a_server_that_does_not_echo_is_one_line(made):
    with pytest.raises(ModelError, match="the server scores no token of a continuation; use endpoint=chat"):
        answer(made("own", endpoint="completions"), LogLikelihood(Prompt("abcd"), ("efg", "h")))


def test_an_answer_in_parts_with_odd_counts_is_still_its_text(made):
    assert answer(made(), "babble") == Completion("one ?two", tokens=0)


def test_likelihoods_by_echo_begin_at_the_token_that_reaches_beyond_the_prompt(made):
    model = made(endpoint="completions")
    # "abcd" + "efg": abc def g, the BOS is token 0, so def (2, not the best) and g (3); "abcd" + " e f": d␣e, ␣f
    found = answer(model, LogLikelihood(Prompt("abcd"), ("efg", " e f")))
    assert found == Likelihoods((-5.0, -5.0), (2, 2), (False, False))
    found = answer(model, LogLikelihood(Prompt("abcdef"), ("ghijk",)))
    assert found == Likelihoods((-7.0,), (2,), (True,))


def test_the_completions_endpoint_says_what_it_cannot_do(made):
    model = made(endpoint="completions")
    with pytest.raises(ModelError, match="takes text alone"):
        answer(model, Generate(Prompt(picture("red"))))
    with pytest.raises(ModelError, match="how likely the end of a text is"):
        answer(model, LogLikelihood(Prompt("a"), ("b",), terminated=True))


def test_a_model_of_text_asked_for_images_says_so_in_one_line(made):
    request = Generate(Prompt(picture("red"), "?"))
    with pytest.raises(ModelError, match=r"openai:blind takes no images \(.*blind is not a multimodal model\); take a"):
        answer(made("blind"), request)
    with pytest.raises(ModelError, match="reads text alone"):
        made(images=0).fits(request)
    assert answer(made("blind"), "say text").text == "text"


@pytest.mark.parametrize(
    "words",
    [
        "At most 0 image(s) may be provided in one prompt.",
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "this model is missing data required for image input",
        "Invalid content type. image_url is only supported by certain models.",
        "unknown variant `image_url`, expected `text`",
        "'messages.0.content' must be a string",
    ],
)
def test_what_servers_say_of_a_model_without_sight_is_understood(words):
    assert sees_nothing(words)


@pytest.mark.parametrize(
    "words",
    [
        "cannot identify image file <_io.BytesIO object at 0x7f>",
        "Image size 9000x9000 exceeds what is supported, it must not be larger",
        "At most 1 image(s) may be provided in one prompt.",
        "the image is too large, only 20 MB are allowed",
        "its tokens were over before the answer (finish reason length)",
    ],
)
def test_trouble_with_one_image_is_not_taken_for_a_model_without_sight(words):
    assert not sees_nothing(words)


def test_a_first_image_that_the_server_cannot_read_fails_alone(made):
    bad, good = answer(
        made(concurrency=1), Generate(Prompt(picture("red"), "blurred")), Generate(Prompt(picture("red")))
    )
    assert bad == Failure("the server answers 400: cannot identify image file")
    assert good.text == "red"


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        (
            "newer",
            {},
            r"refuses requests of this form \(.*max_tokens.*\); give --model-option limit_name=max_completion_t",
        ),
        ("fixed", {}, r"refuses requests of this form \(.*\); --model-option decoding=server leaves it out"),
        (
            "base",
            {},
            r"refuses requests of this form \(.*\); --model-option endpoint=completions feeds prompts as they",
        ),
        ("gone", {}, r"/v1 has no model gone, only m, slow \(The model `gone` does not exist\)"),
    ],
)
def test_a_server_that_wants_requests_of_another_form_is_one_line_with_the_option(made, name, options, line):
    with pytest.raises(ModelError, match=line):
        answer(made(name, **options), "say x")


def test_those_options_are_sent_and_said(made, server):
    model = made("fixed", decoding="server", limit_name="max_completion_tokens", thinking=100)
    assert answer(model, Generate(Prompt("say a. b"), max_tokens=7, stop=(".",))).text == "a"
    sent = logged(server)[-1]
    assert "temperature" not in sent and "stop" not in sent and sent["max_completion_tokens"] == 107
    assert model.notes[0] == "decoding left to the server"
    drawn = Generate(Prompt("say one"), sampling=Sampling(temperature=0.5))
    assert answer(made(decoding="server"), drawn).text == "one" and logged(server)[-1]["temperature"] == 0.5


def test_a_server_that_refuses_log_probabilities_is_one_line(made):
    with pytest.raises(ModelError, match=r"silent: the server tells no log-probabilities \(.*\); use likelihoods=text"):
        answer(made("silent", likelihoods="first_token"), LogLikelihood(Prompt("is it?"), (" Yes", " No")))


def test_a_first_token_that_begins_no_continuation_is_counted(made):
    model = made(likelihoods="first_token")
    assert len(set(answer(model, LogLikelihood(Prompt("is it?"), (" red", " blue"))).logprobs)) == 1
    assert model.notes[1] == "1 replies were none of the choices"


def test_reasoning_is_no_part_of_an_answer_and_an_answer_without_room_fails(made):
    thought, open_, empty, nothing, bare = answer(
        made(), "say <think>\nno? yes!</think>\n\nyes", "say <think> no, y", "ponder", "say ", "say a </think>b"
    )
    assert thought.text == "yes" and bare.text == "b"
    for one in (open_, empty):
        assert isinstance(one, Failure) and one.reason.endswith("--model-option thinking=4096")
    assert nothing == Completion("", tokens=0)  # an answer that is empty by the model's own will stands


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", r":\d+ has no such model or path \(Not Found\); expected openai:MODEL@URL/v1"),
        ("/moved", r"/moved redirects to http://127.0.0.1:\d+/v1/secure, which is not followed; if you trust it, use"),
    ],
)
def test_a_wrong_path_is_one_line(server, path, line):
    with pytest.raises(ModelError, match=line):
        answer(OpenAIModel(f"m@{server[0].removesuffix('/v1')}{path}", retries=0), "say x")


def test_a_redirect_is_named_and_gets_neither_prompts_nor_keys(server, tmp_path):
    with serving(log := tmp_path / "other.jsonl") as port:
        model = OpenAIModel(f"m@{server[0].removesuffix('/v1')}/away/{port}", retries=0, api_key="sk-secret-of-mine")
        with pytest.raises(ModelError, match=rf"redirects to http://\*\*\*@127.0.0.1:{port}/v1, which is not followed"):
            answer(model, "say x")
    assert not log.exists()


def test_an_answer_without_end_is_given_up_in_time(made):
    began = time.monotonic()
    lost, fine = answer(made(retries=0, timeout=0.5), "trickle", "say fine")
    assert lost == Failure("no answer within 0.5 s, after 1 tries") and fine.text == "fine"
    assert time.monotonic() - began < 5


def test_an_answer_without_bounds_is_not_read(made):
    bomb, packed, deep, fine = answer(made(), "bomb", "packed", "deep", "say fine")
    assert bomb == Failure("the answer has more than 32,000,000 bytes")
    assert packed == Failure("the answer is encoded as br; expected gzip or none")
    assert deep.reason.startswith("the server's answer is no JSON: ") and fine.text == "fine"


def test_half_a_surrogate_pair_fails_its_own_request(made):
    half, whole = answer(made(), "say \ud83d", "say whole")
    assert half.reason == "the prompt has half a surrogate pair, which is no text; fix the data"
    assert whole.text == "whole"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ALL_PROXY", "socks9://127.0.0.1:1"), ("https_proxy", "http://[::1"), ("SSL_CERT_FILE", "/no/such.pem")],
)
def test_an_environment_that_allows_no_connection_is_one_line(made, monkeypatch, variable, value):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        ModelError, match=rf"can be prepared \(.*\); fix the environment's {variable.upper()}, or unset"
    ):
        answer(made(), "say x")


@pytest.mark.parametrize("url", ["http://h:999999/v1", "http://[::1", "http://h:p/v1", "https://", "http://a b/v1"])
def test_an_address_that_is_none_is_one_line(url):
    with pytest.raises(ModelError, match=r"is no address; expected http://HOST:PORT/v1"):
        OpenAIModel(f"m@{url}")


def test_the_address_of_the_environment_is_the_one_that_is_recorded(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server[0].replace("//", "//me:p@w/s@"))
    model = OpenAIModel("m")
    assert answer(model, "key: say x").text == "x"
    assert logged(server)[-1]["auth"] == "Basic bWU6cEB3L3M="
    assert model.address == server[0].replace("//", "//***@") and list(model.usage.endpoints) == [model.address]
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert OpenAIModel("m").address == "https://api.openai.com/v1"


@pytest.mark.parametrize("key", ["sk-se\ncret", "sk-s\u00e9cret", "sk se-cret", "sk-\x1bsecret"])
def test_a_key_that_no_request_can_carry_is_one_line_without_it(made, monkeypatch, key):
    for options in ({"api_key": key}, {}):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(
            ModelError, match="the key contains a line break, a space or a non-ASCII character"
        ) as error:
            made(**options)
        assert "sk" not in str(error.value) and "cret" not in str(error.value)


def test_white_space_around_a_key_is_taken_off(made, server):
    answer(made(api_key=" sk-mine\r\n"), "key: say x")
    assert logged(server)[-1]["auth"] == "Bearer sk-mine"


def test_a_server_that_tells_the_key_is_not_quoted(made):
    said, shown, fine = answer(made(api_key="sk-very-secret"), "say sk-very-secret is it", "shown", "say fine")
    assert said.text == "*** is it" and fine.text == "fine"
    assert shown.reason.endswith("no completion: \"{'choices': 'Bearer ***'}\"")


@pytest.mark.parametrize("name", ["m", "stopping"])
def test_line_breaks_before_an_answer_do_not_empty_it(made, name):
    model = made(name)
    request = Generate(Prompt("say \n\nred\nblue"), stop=("\n",))
    assert answer(model, request).text == "red"
    assert answer(model, Generate(Prompt("say "), stop=("\n",))).text == ""
    assert answer(model, Generate(Prompt("say \n\nQ: red"), stop=("\n\nQ:",))).text == ""


def test_blanks_up_to_the_last_token_are_no_answer(made):
    failed = answer(made(), "mumble")
    assert failed.reason.startswith("its tokens were over before the answer (finish reason length)")


def test_errors_within_a_good_status_are_tried_again_and_fail_by_name(made, server):
    model = made(retries=1)
    passing, lasting, streamed, giant, abandoned = answer(
        model, "late: say a", "always late", "sse", "giant", "abandon: say half"
    )
    assert passing.text == "a"
    assert lasting.reason == "the server answers with an error after 2 tries: upstream"
    assert streamed.reason.startswith("the server's answer is no JSON, it streams though it was not asked to: 'data:")
    assert giant.reason == "the server answers 413: 413 Too Large"
    assert abandoned.reason == "the server broke the answer off (finish reason error)"


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        (
            "patience",
            r"asks to wait 3600 s \(daily limit\); finished samples are kept, rerun the same command to continue",
        ),
        ("poor", r"/v1: Insufficient Balance; finished samples are kept"),
        ("locked", r"refuses to answer without a key \(.*\); set OPENAI_API_KEY, or the option api_key"),
    ],
)
def test_what_concerns_all_requests_stops_the_run(made, prompt, line):
    with pytest.raises(ModelError, match=line):
        answer(made(), prompt)


def test_a_server_that_never_answers_anything_is_not_asked_on_and_on(made, server):
    before = len(logged(server))
    line = r"answered none of 8 requests \(the server answers 400: no such m\); finished samples are kept"
    with pytest.raises(ModelError, match=line):
        answer(made(concurrency=1), *(f"refuse {number}" for number in range(50)))
    assert len(logged(server)) - before == 8
    model = made(concurrency=1)
    found = answer(model, "say x", *(f"refuse {number}" for number in range(9)))
    assert found[0].text == "x" and all(isinstance(one, Failure) for one in found[1:])


def test_a_server_that_is_not_well_any_more_is_not_asked_on_and_on(made):
    with pytest.raises(
        ModelError, match=r"none of the last 8 requests \(the server answers 503 after 1 tries: Loading"
    ):
        answer(made(concurrency=1, retries=0), "say x", *(f"weary {number}" for number in range(50)))


def test_too_many_images_for_the_server_names_the_option(made):
    two = Generate(Prompt(picture("red"), "a", picture("blue")))
    _, failed = answer(made("one", concurrency=1), Generate(Prompt(picture("red"))), two)
    assert failed.reason.endswith(
        "At most 1 image(s) may be provided.; --model-option images=1 leaves out demonstrations beyond"
    )


def test_what_stands_between_is_named():
    assert "SSL_CERT_FILE" in unreachable("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed")
    assert "try http" in unreachable("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)")
    assert unreachable("All connection attempts failed") == ""


def test_an_address_may_be_of_ipv6():
    assert OpenAIModel("org/m@http://[::1]:8000/v1").address == "http://[::1]:8000/v1"


def test_a_server_that_dies_on_the_way_is_one_line_and_the_rest_is_asked_of_the_next(tmp_path):
    @dataclass(frozen=True)
    class Echo(Task):
        def samples(self):
            return [Sample(str(i), Prompt(f"{'perish' if i == 3 else i} say {i}"), str(i)) for i in range(6)]

        def examples(self):
            return ()

        def requests(self, sample, shots):
            return [Generate(sample.prompt)]

        def score(self, sample, outputs):
            return Score({"accuracy": float(outputs[0].text == sample.target)})

    log, run = tmp_path / "log.jsonl", tmp_path / "run"
    with serving(log) as port:
        model = OpenAIModel(f"m@http://127.0.0.1:{port}/v1", retries=0, concurrency=1, price_out=1e6)
        with pytest.raises(
            ModelError, match=r"is gone \(.*\), after 1 tries; finished samples are kept, start the server"
        ):
            evaluate(model, {"echo": Echo()}, out=run)
    assert load_folder(run)[1].answered == 3
    with serving(log, port):
        report = evaluate(model, {"echo": Echo()}, out=run)
    assert report.score("echo") == 100
    asked = [json.loads(line)["text"] for line in log.read_text().splitlines()]
    assert asked == ["0 say 0", "1 say 1", "2 say 2", "perish say 3", "perish say 3", "4 say 4", "5 say 5"]
    assert model.notes[0].endswith("cost 6.0000")


def test_demonstrations_beyond_the_most_images_do_not_fit(made):
    two = Generate(Prompt(picture("red"), "a", picture("blue")))
    assert made(images=2).fits(two) and made().fits(two) and not made(images=1).fits(two)


def test_tokens_and_cost_are_counted(made):
    model = made(price_in=10.0, price_out=1000.0)
    answer(model, "12345 say a b", "say c")
    assert model.notes == ["2 requests answered, 18 tokens of prompts, 3 of answers, cost 0.0032"]


def test_the_fingerprint_is_of_what_decides_answers(made):
    same = {made().fingerprint, made(concurrency=2, api_key="x", retries=9).fingerprint}
    same.add(OpenAIModel("m@http://elsewhere/v1").fingerprint)
    other = {made("n").fingerprint, made(choices="regex").fingerprint, made(endpoint="completions").fingerprint}
    assert len(same) == 1 and len(same | other) == 4


@pytest.mark.parametrize(
    ("spec", "options", "line"),
    [
        ("openai", [], "expected openai:MODEL_AT_URL"),
        ("openai:m@host/v1", [], "expected openai:MODEL@http://HOST/v1"),
        ("openai:m@http://h/v1/chat/completions", [], "goes beyond the address; expected it up to and including /v1"),
        ("openai:m@http://h/v1?api-version=1", [], "goes beyond the address"),
        ("openai:m@http://h/v1", ["thinking=-1"], "thinking is -1; expected a number of at least 0"),
        ("openai:m@http://h/v1", ["concurrency=0"], "concurrency is 0; expected a number of at least 1"),
        ("openai:m@http://h/v1", ["timeout=NaN"], "timeout is nan; expected a number of at least 0.001"),
        ("openai:m@http://h/v1", ["timeout=soon"], "timeout is 'soon'; expected a number"),
        ("openai:m@http://h/v1", ["choices=magic"], "expected one of 'text', 'guided_choice'"),
        ("openai:m@http://h/v1", ["retry=1"], "did you mean 'retries'"),
    ],
)
def test_a_wrong_option_is_one_line(spec, options, line):
    with pytest.raises(KosmosEvalError, match=line):
        load_model(spec, options=options)


def command_line(monkeypatch, command):
    from kosmos_eval.cli.app import main

    monkeypatch.setattr(sys, "argv", ["kosmos-eval", *command])
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as left:
        main()
    signal.signal(signal.SIGINT, handler)
    return left.value.code or 0


@pytest.fixture
def colours(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"id": str(i), "file": f"{i}.png", "colour": ("red", "blue")[i % 2]} for i in range(24)]
    for i, row in enumerate(rows):
        PIL.Image.new("RGB", (8 + i, 8), row["colour"]).save(data / row["file"])
    (data / "rows.json").write_text(json.dumps({"rows": rows}))
    return ["run", "--task-file", str(FIXTURES / "toy.py"), "--data", str(data), "--no-html"]


def test_a_killed_run_goes_on_elsewhere_asks_nothing_twice_adds_up_and_writes_no_key(
    server, tmp_path, colours, monkeypatch, capsys
):
    out, url, before = tmp_path / "run", server[0].replace("//", "//me:pw-hid@"), len(logged(server))
    options = ["--out", str(out), "--model-option", "api_key=sk-hid", "--model-option"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kosmos_eval", *colours, *options, "concurrency=2", "--model", f"openai:slow@{url}"],
        stdout=subprocess.DEVNULL,
    )
    path = out / "samples.jsonl"
    deadline = time.monotonic() + 600
    while (not path.exists() or path.read_bytes().count(b"\n") < 4) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = path.read_bytes().count(b"\n")
    paid = (out / "usage.jsonl").read_bytes().count(b"\n")
    assert 4 <= kept <= paid <= len(logged(server)) - before and kept < 24
    with serving(log := tmp_path / "second.jsonl") as port:
        second = f"http://127.0.0.1:{port}/v1"
        left = command_line(monkeypatch, [*colours, *options, "concurrency=9", "--model", f"openai:slow@{second}"])
    assert left == 0
    assert len(log.read_text().splitlines()) == 24 - kept
    first, printed = server[0].replace("//", "//***@"), capsys.readouterr().out
    assert f"{first} answered so far, {second} goes on; nothing tells whether it holds the same weights" in printed
    assert "100.00 %" in printed
    written = json.loads((out / "run.json").read_text())
    total, each = paid + 24 - kept, len("<red>colour:")
    said = written["model_notes"][0]
    assert said.startswith(f"{total} requests answered ({paid} by {first}, {24 - kept} by {second}), ")
    assert each * total <= int(re.search(r"(\d+) tokens of prompts", said)[1]) <= (each + 1) * total
    assert written["config"]["model"] == "openai:slow" and not written["config"]["model_options"]
    everything = "".join(file.read_text() for file in out.iterdir() if file.is_file())
    assert "sk-hid" not in everything and "pw-hid" not in everything


def test_a_run_that_goes_on_with_nothing_to_ask_keeps_what_was_said_of_it(made, tmp_path):
    folder = tmp_path / "run"
    manifest = Manifest(RunConfig(), "m", Environment(), started="")
    for prompt in ("say a", "say b c"):
        with open_folder(folder, manifest) as (run, _):
            model = made(price_out=1e6)
            model.usage.keep(run.path / "usage.jsonl")
            answer(model, Generate(Prompt(prompt), choices=("a", "z")))
    with (folder / "usage.jsonl").open("a") as torn:
        torn.write('{"at": "http')
    with open_folder(folder, manifest) as (run, _):
        model = made(price_out=1e6)
        model.usage.keep(run.path / "usage.jsonl")
        assert model.notes[:2] == ["choices by text", "1 replies were none of the choices"]
        assert model.notes[2].startswith("2 requests answered, ") and model.notes[2].endswith(
            "3 of answers, cost 3.0000"
        )
    with open_folder(folder, manifest, overwrite=True) as (run, _):
        model.usage.keep(run.path / "usage.jsonl")
        assert model.notes == ["0 requests answered, 0 tokens of prompts, 0 of answers"]


def test_processes_of_a_run_count_in_files_of_their_own(tmp_path):
    folder = tmp_path
    first, second = UsageLog(), UsageLog()
    first.keep(folder / "usage.rank0.jsonl")
    second.keep(folder / "usage.rank1.jsonl")
    first.answered("a", prompt_tokens=2)
    second.answered("b", prompt_tokens=3)
    assert first.whole().counts == {"requests": 2, "prompt_tokens": 5} and first.whole().endpoints == {"a": 1, "b": 1}
    (folder / "usage.rank0.jsonl").write_text("[]\n")
    with pytest.raises(RunError, match=r"usage.rank0.jsonl line 1 is damaged \(.*\); delete the line"):
        second.whole()
