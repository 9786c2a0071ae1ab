"""The known ways in which evaluations of these tasks go wrong, and the tests that hold this one to doing it right."""

import re
from pathlib import Path

import pytest

TESTS = {
    path.name: set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    for path in Path(__file__).resolve().parents[1].rglob("test_*.py")
}

PITFALLS = {
    "VQA answers are normalised even where all ten humans agree, or the prediction is normalised twice": [
        ("test_metrics_vqa.py", "test_nothing_is_normalised_where_all_humans_agree"),
        ("test_metrics_vqa.py", "test_normalisation_is_the_official_one"),
        ("test_metrics_vqa.py", "test_human_answers_are_normalised_like_the_prediction"),
        ("test_metrics_vqa.py", "test_only_the_first_32_full_stops_go"),
    ],
    "a lenient VQA accuracy goes by the official one's name": [
        ("test_vqav2.py", "test_the_lenient_figure_has_another_name"),
    ],
    "min(n / 3, 1) stands in for the leave-one-out mean, or equal answers are left out together": [
        ("test_metrics_vqa.py", "test_accuracy_is_the_mean_over_leaving_out_each_human"),
        ("test_metrics_vqa.py", "test_equal_answers_of_different_humans_all_count"),
    ],
    "CIDEr's document frequencies come from the subset that was evaluated": [
        ("test_coco_caption.py", "test_a_part_of_the_split_is_scored_on_the_scale_of_the_whole"),
        ("test_metrics_caption.py", "test_a_subset_keeps_the_scale_of_cider_when_the_split_gives_the_frequencies"),
    ],
    "captions are scored without the PTB tokeniser": [
        ("test_metrics_caption.py", "test_tokens_are_lower_case_words_without_punctuation"),
    ],
    "a Unicode line break inside a caption gives the next image the wrong one": [
        ("test_metrics_caption.py", "test_no_line_break_gives_an_image_the_next_ones_caption"),
    ],
    "a normalised log-likelihood is normalised again": [
        ("test_metrics_choice.py", "test_each_rule_is_what_its_name_says"),
    ],
    "the prompt's length is taken before image tokens are expanded": [
        ("test_models_hf.py", "test_image_tokens_are_counted_after_expansion"),
        ("test_models_hf.py", "test_a_prompt_fits_by_its_expanded_length"),
        ("test_adapter.py", "test_fits_counts_image_slots_and_the_longest_answer"),
    ],
    "the greedy flag compares a token with the logits of its own position": [
        ("test_models_hf.py", "test_the_greedy_flag_marks_the_most_probable_next_token"),
    ],
    "a token spans prompt and continuation, and the continuation is cut in the wrong place": [
        ("test_models_hf.py", "test_a_token_that_spans_the_join_belongs_to_the_continuation"),
        ("test_engine_search.py", "test_a_continuation_and_its_prompt_are_encoded_as_one_text"),
        ("test_models_hf.py", "test_a_space_that_ends_the_prompt_joins_the_next_word"),
    ],
    "the beginning of text is missing, or stands twice": [
        ("test_models_hf.py", "test_the_beginning_is_marked_once"),
        ("test_models_hf.py", "test_a_chat_template_that_writes_the_beginning_does_not_double_it"),
    ],
    "padding changes the text": [
        ("test_models_hf.py", "test_a_batch_is_padded_on_the_left"),
        ("test_models_hf.py", "test_the_batch_does_not_change_an_answer"),
        ("test_engine.py", "test_requests_together_are_answered_as_each_alone"),
    ],
    "truncation cuts an image, or demonstrations are dropped by the length of their text alone": [
        ("test_evaluate.py", "test_whole_demonstrations_are_dropped_when_the_prompt_is_too_long_and_reported"),
        ("test_evaluate.py", "test_a_prompt_that_never_fits_fails"),
    ],
    "an error in the model is scored as a wrong answer": [
        ("test_evaluate.py", "test_a_failure_is_counted_apart_and_never_scored"),
        ("test_cli.py", "test_a_defect_of_one_sample_fails_it_alone"),
    ],
    "demonstrations depend on the limit, the order or the machine": [
        ("test_evaluate.py", "test_limit_does_not_change_the_prompts"),
        ("test_evaluate.py", "test_the_order_of_samples_changes_no_prompt"),
        ("test_shots.py", "test_shots_come_from_the_random_of_seed_task_and_sample"),
    ],
    "the question is among its own demonstrations": [
        ("test_shots.py", "test_a_sample_is_not_its_own_demonstration"),
        ("test_shots.py", "test_the_same_picture_under_another_id_is_not_shown"),
        ("test_evaluate.py", "test_leave_one_out_is_reported_and_never_shows_the_question"),
    ],
    "a result is found again although the model, the image or the decoding is another": [
        ("test_run_folder.py", "test_another_configuration_is_refused_with_what_differs_and_nothing_is_touched"),
        ("test_prompt.py", "test_the_digest_follows_the_content_of_an_image_not_its_path"),
        ("test_evaluate.py", "test_the_digest_of_a_prompt_covers_decoding"),
        ("test_models_hf.py", "test_the_fingerprint_is_of_the_content"),
    ],
    "nothing is kept until everything is finished": [
        ("test_cli.py", "test_a_killed_run_resumes_to_the_same_result_and_asks_nothing_twice"),
    ],
    "a name that begins another always wins, and equal names cannot both": [
        ("test_models_hf.py", "test_a_choice_is_found_by_its_terminated_probability"),
        ("test_engine_search.py", "test_choices_that_begin_others_and_those_that_do_not_are_all_reached"),
        ("test_models_hf.py", "test_a_choice_that_begins_another_can_be_chosen_and_so_can_the_other"),
        ("test_imagenet.py", "test_a_name_of_two_classes_is_half_right"),
    ],
    "an exact tie goes to whatever stands first": [
        ("test_metrics_choice.py", "test_ties_at_the_top_share_credit"),
        ("test_raven_iq.py", "test_the_likeliest_yes_is_the_answer_and_ties_share_the_credit"),
    ],
    "few-shot forms that the paper does not have pass as the paper's": [
        ("test_report.py", "test_rates_are_shown_in_per_cent_and_other_scales_as_they_are"),
    ],
}


@pytest.mark.parametrize("pitfall", PITFALLS)
def test_a_pitfall_has_tests(pitfall):
    for file, name in PITFALLS[pitfall]:
        assert name in TESTS.get(file, ()), f"{file} has no {name}"
