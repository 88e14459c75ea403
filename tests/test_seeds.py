from hashlib import blake2b
from itertools import pairwise, permutations

from espalier.seeds import digest, number, rng, share, shuffled


def test_a_digest_is_the_known_one():
    assert digest(42, "plan", "row") == blake2b(b"42\x1fplan\x1frow", digest_size=16).hexdigest() == "a96b6f4970b42fbeebe1e2a781309b64"
    assert number(42, "plan", "row") == 0xA96B6F4970B42FBE >> 1
    assert share(42, "plan", "row") == (0xA96B6F4970B42FBE >> 11) / 2**53


def test_parts_are_kept_apart():
    kinds = [("ab", "c"), ("a", "bc"), ("abc",), ("", "abc"), ("abc", ""), ("a", "b", "c"), (1, 23), (12, 3), (123,)]
    assert len({digest(*parts) for parts in kinds}) == len(kinds)


def test_a_part_is_its_text_so_a_number_and_its_digits_are_one():
    assert digest(12, "x") == digest("12", "x")


def test_a_text_that_is_no_unicode_has_a_digest_too():
    assert digest("\ud800") != digest("\udfff")


def test_numbers_and_shares_lie_in_their_ranges():
    assert all(0 <= number("x", i) < 2**63 and 0 <= share("x", i) < 1 for i in range(2000))
    assert (2**63 - 1 >> 10) / 2.0**53 < 1  # the largest number gives no 1


def test_shares_are_spread_evenly():
    counts = [0] * 10
    for i in range(10_000):
        counts[int(10 * share("spread", i))] += 1
    chi = sum((count - 1000) ** 2 / 1000 for count in counts)
    assert chi < 27.9  # chi-square with 9 degrees of freedom passes this once in 1,000


def test_seeds_and_names_that_follow_each_other_share_no_draw():
    streams = [rng(seed, "plan", row).integers(0, 2**63, 500).tolist() for seed in (42, 43) for row in (0, 1)]
    drawn = [value for stream in streams for value in stream]
    assert len(set(drawn)) == 2000  # with seed + i, seed 43 would draw what seed 42 draws one row later


def test_the_same_names_give_the_same_draws():
    assert rng(7, "x").integers(0, 100, 5).tolist() == rng(7, "x").integers(0, 100, 5).tolist()
    assert rng(42, "plan", "r0").integers(0, 1000, 5).tolist() == [707, 621, 368, 530, 269]


def test_a_shuffle_keeps_the_values_and_follows_its_names():
    values = list("abcdefgh")
    one, other = shuffled(values, 1, "leaves"), shuffled(values, 2, "leaves")
    assert sorted(one) == sorted(other) == values
    assert one != other
    assert shuffled(values[::-1], 1, "leaves") == one  # the order given does not matter


def test_a_value_added_to_a_shuffle_moves_no_other_pair():
    before, after = shuffled("abcdefgh", 1), shuffled("abcdefghi", 1)
    assert [value for value in after if value != "i"] == before


def test_every_order_of_three_comes_up():
    found = {tuple(shuffled("abc", seed)) for seed in range(100)}
    assert found == set(permutations("abc"))  # the chance to miss one in 100 is 6 x (5/6)^100 < 1e-7


def test_shares_of_rows_that_follow_each_other_do_not_hang_together():
    values = [share("row", i) for i in range(2001)]
    together = sum((a - 0.5) * (b - 0.5) for a, b in pairwise(values)) / 2000 * 12  # correlation: a uniform draw has variance 1/12
    assert abs(together) < 4 / 2000**0.5  # four standard deviations
