"""E-mail addresses and phone numbers."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.errors import Invalid
from services.user.contact import email_key, parse_email, parse_phone
from tests.examples import examples


@settings(deadline=None, max_examples=examples(100))
@given(st.emails())
def test_an_address_is_compared_without_case_and_its_usual_form_is_stable(address):
    try:
        usual = parse_email(address)
    except Invalid:
        return
    assert parse_email(usual) == usual
    assert email_key(address) == email_key(usual) == email_key(usual.upper()) or not usual.isascii()


@settings(deadline=None, max_examples=examples(100))
@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_a_valid_number_of_any_country_is_written_as_e164(region):
    example = phonenumbers.example_number(region)
    if example is None or not phonenumbers.is_valid_number(example):
        return
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    international = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    assert parse_phone(international) == parse_phone(e164) == e164


@settings(deadline=None, max_examples=examples(100))
@given(st.text(max_size=32))
def test_no_text_is_more_than_refused(text):
    for parse in (parse_email, parse_phone):
        try:
            parse(text)
        except Invalid as error:
            assert error.fields


def test_no_number_is_no_number():
    assert parse_phone("") == ""
    with pytest.raises(Invalid):
        parse_phone("13800138000")
