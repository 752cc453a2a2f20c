"""Eighty thousand malformed requests, beside the twenty thousand of ``test_http_fuzz.py``: half a minute."""

import pytest
from http_fuzz import fuzz


@pytest.mark.parametrize("seed", range(4, 20))
async def test_malformed_requests_are_answered_or_cut_off_and_harm_nobody(autojump_clock, seed):
    await fuzz(seed, 5_000)
