"""Digits to whether their check digits are right: how a card number is told from any other long number.

In: digits without separators. Out: a bool. Pure. Does not know which numbers are made like that.
"""

from __future__ import annotations

from collections.abc import Sequence

# Verhoeff (1969): the table of the dihedral group of ten, and the powers of its permutation.
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: every second digit from the right is doubled."""
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)) % 10 == 0


def mod97(characters: str) -> bool:
    """ISO 13616 (IBAN): the first four characters moved to the end, letters as 10 to 35, leave 1."""
    moved = characters[4:] + characters[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def weighted(digits: str, weights: Sequence[int], modulus: int) -> int:
    """The weighted sum's remainder; digits beyond the weights do not count."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False)) % modulus


def mod11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10 (the German tax number)."""
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (product + int(digits[-1])) % 10 == 1


def verhoeff(digits: str) -> bool:
    """Finds every wrong digit and every two that were swapped (the Indian Aadhaar number)."""
    check = 0
    for position, digit in enumerate(reversed(digits)):
        check = _product(check, _permuted(int(digit), position % 8))
    return check == 0


def _permuted(digit: int, times: int) -> int:
    for _ in range(times):
        digit = _PERMUTATION[digit]
    return digit


def _product(a: int, b: int) -> int:
    """In the dihedral group of order ten: 0 to 4 turn the pentagon, 5 to 9 mirror it."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5
