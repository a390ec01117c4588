"""Whether a calendar fits into a meter of a profile (catalogue 1.1): told before anything is written."""

from metercast.commands.contract import StepFailed
from metercast.commands.tariff.calendar import Calendar, name_octets
from metercast.domain.words import ErrorWord
from metercast.profiles.model import CalendarRules

_DIGITS = frozenset(b"0123456789")


def check_rules(calendar: Calendar, rules: CalendarRules) -> None:
    """StepFailed(ProfileLimit) that names every limit that the calendar breaks."""
    broken = [*_counts(calendar, rules), *_names(calendar, rules)]
    if broken:
        raise StepFailed(ErrorWord.PROFILE_LIMIT, f"nothing was written: {'; '.join(broken)}")


def _counts(calendar: Calendar, rules: CalendarRules) -> list[str]:
    longest = max(len(day.schedule) for day in calendar.days)
    counts = (
        (len(calendar.seasons), rules.max_seasons, "seasons"),
        (len(calendar.weeks), rules.max_weeks, "weeks"),
        (len(calendar.days), rules.max_days, "days"),
        (longest, rules.max_day_actions, "actions in a day"),
    )
    return [f"{count} {what}, the meter's profile allows {most}" for count, most, what in counts if count > most]


def _names(calendar: Calendar, rules: CalendarRules) -> list[str]:
    broken = []
    encoding = calendar.name_encoding
    if len(name_octets(calendar.calendar_name, encoding)) > rules.max_calendar_name_octets:
        most = rules.max_calendar_name_octets
        broken.append(f"the calendar's name {calendar.calendar_name!r}, the profile allows {most} octets")
    profiles = [("season", season.name) for season in calendar.seasons] + [
        ("week", week.name) for week in calendar.weeks
    ]
    for what, name in profiles:
        octets = name_octets(name, encoding)
        if len(octets) > rules.max_profile_name_octets:
            broken.append(f"the {what}'s name {name!r}, the profile allows {rules.max_profile_name_octets} octets")
        elif rules.profile_names == "digit" and not (len(octets) == 1 and octets[0] in _DIGITS):
            broken.append(f"the {what}'s name {name!r}, the profile asks for one digit")
    return broken
