"""E-mail addresses and phone numbers: whether they are valid, and how they are written and compared."""

import unicodedata

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from services.kernel.errors import Invalid


def parse_email(text: str, field: str = "email") -> str:
    """The address in its usual form. Raises Invalid; domains are not looked up."""
    if unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text):
        # Mail servers may deliver it to who has the usual form: it would be another's second address.
        raise Invalid("letters in compatibility forms, such as wide ones, are written as the usual ones", field=field)
    try:
        # The test environment only lets domains below .test through, and nobody can be harmed by those.
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise Invalid(str(error), field=field) from None


def email_key(text: str) -> str:
    """Key by which addresses are compared: without case, in their usual form where they have one."""
    try:
        return parse_email(text.strip()).casefold()
    except Invalid:
        return text.strip().casefold()


def parse_phone(text: str, field: str = "phone") -> str:
    """The number as E.164, `+8613800138000`; empty stays empty. Raises Invalid."""
    if not text.strip():
        return ""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise Invalid("a phone number with a leading + and the country's code is expected", field=field) from None
    if not phonenumbers.is_valid_number(number):
        raise Invalid("the phone number does not exist", field=field)
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
