"""What several commands say in the same words."""

from tscert_trio.cli.telling import as_sentences


def test_each_part_is_said_once_with_one_full_stop():
    assert as_sentences("it fails", "wait. ", "it fails", "") == "it fails. wait."


def test_a_question_gets_no_full_stop():
    assert as_sentences("is the clock right?", "look") == "is the clock right? look."
