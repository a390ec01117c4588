"""Retry decisions, as properties over every word, phase, history and kind of command."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metercast.domain.outcome import Outcome, OutcomeKind, Phase
from metercast.domain.retry import MAX_ASSOCIATION_FAILURES, Decision, History, Resend, RetryPolicy, decide, recover
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus
from metercast.domain.words import FOUND_BY_READING, ErrorClass, ErrorWord

words = st.sampled_from(ErrorWord)
phases = st.sampled_from(Phase)
resends = st.sampled_from(Resend)
flags = st.booleans()
jitters = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    initial_delay_seconds=st.floats(0.01, 86400),
    max_delay_seconds=st.floats(0.01, 86400),
)
histories = st.builds(
    History, tries=st.integers(1, 10_000), used=st.integers(0, 99), association_failures=st.integers(0, 1)
)
failures = st.builds(Outcome.failed, words, st.just("detail"), phases)
outcomes = failures | st.sampled_from(
    [Outcome.done(), Outcome.already_so(), Outcome.armed(), Outcome.scheduled(), Outcome.checkpoint([1]),
     Outcome.given_back("paused")]
)  # fmt: skip
settled = st.fixed_dictionaries({"live": flags, "can_read_back": flags, "verifying": flags, "jitter": jitters})


def ambiguous(outcome: Outcome) -> bool:
    """The meter may have done it."""
    return (
        outcome.kind is OutcomeKind.FAILED
        and outcome.phase is Phase.CHANGING
        and outcome.error is not None
        and outcome.error.error_class is ErrorClass.AMBIGUOUS
    )


@given(outcomes, resends, policies, histories, settled)
def test_every_decision_is_a_legal_event(
    outcome: Outcome, resend: Resend, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(outcome, resend, policy, history, **settled)
    assert (DeviceStatus.SENT, decision.event) in DEVICE_TRANSITIONS
    after = DEVICE_TRANSITIONS[DeviceStatus.SENT, decision.event]
    assert (decision.error is None) or after is not DeviceStatus.SUCCESS
    assert (decision.error is not None) or after is not DeviceStatus.FAILED
    assert history.used <= decision.used <= history.used + 1
    assert 0 <= decision.association_failures <= MAX_ASSOCIATION_FAILURES
    assert (decision.event is DeviceEvent.SUCCEED) == outcome.succeeded
    assert (decision.event is DeviceEvent.GIVE_BACK) == (outcome.kind is OutcomeKind.GIVEN_BACK)


@given(failures, policies, histories, settled)
def test_a_command_never_resent_is_not_resent_after_an_ambiguous_end(
    outcome: Outcome, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(outcome, Resend.NEVER, policy, history, **settled)
    if ambiguous(outcome):
        if settled["can_read_back"]:
            assert decision.event is DeviceEvent.FAIL or decision.verify_first
        else:
            assert (decision.event, decision.error) == (DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN)


@given(failures, policies, histories, settled)
def test_what_may_have_been_done_is_read_before_it_is_sent_again(
    outcome: Outcome, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(outcome, Resend.VERIFY, policy, history, **settled)
    if decision.event is DeviceEvent.RETRY:
        assert decision.verify_first == (ambiguous(outcome) or settled["verifying"])


@given(failures, st.sampled_from([Resend.VERIFY, Resend.NEVER]), policies, histories, settled)
def test_a_guess_never_looks_like_a_plain_failure(
    outcome: Outcome, resend: Resend, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(outcome, resend, policy, history, **settled)
    unseen = settled["verifying"] and outcome.phase is not Phase.CHANGING and outcome.error not in FOUND_BY_READING
    if decision.event is DeviceEvent.FAIL and (ambiguous(outcome) or unseen):
        assert decision.error is ErrorWord.OUTCOME_UNKNOWN


@given(
    words.filter(lambda word: word.error_class is ErrorClass.PERMANENT), phases, resends, policies, histories, settled
)
def test_permanent_errors_fail_at_once(
    word: ErrorWord, phase: Phase, resend: Resend, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(Outcome.failed(word, "", phase), resend, policy, history, **settled)
    assert decision.event is DeviceEvent.FAIL
    if not settled["verifying"]:
        assert decision.error is word


@given(words, resends, policies, histories, settled)
def test_before_the_association_no_attempt_is_used_and_none_is_the_last(
    word: ErrorWord, resend: Resend, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(Outcome.failed(word, "", Phase.BEFORE_ASSOCIATION), resend, policy, history, **settled)
    assert decision.used == history.used
    if settled["live"] and word.error_class is not ErrorClass.PERMANENT:
        assert decision.event is DeviceEvent.RETRY
        assert decision.association_failures == history.association_failures


@given(failures, resends, policies, histories, settled)
def test_attempts_end(
    outcome: Outcome, resend: Resend, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(outcome, resend, policy, history, **settled)
    if outcome.phase is not Phase.BEFORE_ASSOCIATION and history.used + 1 >= policy.max_attempts:
        assert decision.event is DeviceEvent.FAIL


@given(outcomes, resends, policies, histories, settled)
def test_nothing_is_tried_again_in_a_task_that_is_over(
    outcome: Outcome, resend: Resend, policy: RetryPolicy, history: History, settled: dict[str, Any]
) -> None:
    decision = decide(outcome, resend, policy, history, **(settled | {"live": False}))
    assert decision.event is not DeviceEvent.RETRY
    assert decision.delay_seconds == 0.0


@given(st.lists(st.tuples(words, phases), max_size=30), resends, flags)
def test_a_meter_is_asked_to_associate_at_most_twice_in_a_row(
    sessions: list[tuple[ErrorWord, Phase]], resend: Resend, can_read_back: bool
) -> None:
    """Whatever happens in between, unless a session got as far as reading."""
    policy = RetryPolicy(max_attempts=100)
    used = failed = in_a_row = 0
    for tries, (word, phase) in enumerate(sessions, 1):
        history = History(tries, used, failed)
        decision = decide(
            Outcome.failed(word, "", phase), resend, policy, history,
            live=True, can_read_back=can_read_back, verifying=False, jitter=0.5,
        )  # fmt: skip
        if phase is Phase.ASSOCIATING and word is not ErrorWord.METER_BUSY:
            in_a_row += 1
        elif phase is not Phase.BEFORE_ASSOCIATION:
            in_a_row = 0
        assert in_a_row <= MAX_ASSOCIATION_FAILURES
        if decision.event is not DeviceEvent.RETRY:
            return
        used, failed = decision.used, decision.association_failures


def test_authentication_failed_is_never_tried_again() -> None:
    assert ErrorWord.AUTHENTICATION_FAILED.error_class is ErrorClass.PERMANENT


@given(policies, st.integers(1, 100_000), jitters)
def test_delays_are_bounded_and_jitter_only_shortens(policy: RetryPolicy, failed: int, jitter: float) -> None:
    delay = policy.delay(failed, jitter)
    longest = policy.delay(failed, 0.0)
    assert 0 < 0.75 * longest <= delay <= longest <= policy.max_delay_seconds
    assert policy.delay(1, 0.0) == min(policy.initial_delay_seconds, policy.max_delay_seconds)


@given(policies, st.integers(1, 1000), jitters)
def test_delays_never_shrink_and_double_up_to_the_limit(policy: RetryPolicy, failed: int, jitter: float) -> None:
    one, two = policy.delay(failed, jitter), policy.delay(failed + 1, jitter)
    assert two >= one
    if failed <= 32 and policy.initial_delay_seconds * 2.0**failed <= policy.max_delay_seconds:
        assert two == 2 * one


@given(resends, policies, histories, flags, flags, jitters)
def test_recovering_what_a_dead_worker_left(
    resend: Resend, policy: RetryPolicy, history: History, can_read_back: bool, live: bool, jitter: float
) -> None:
    decision = recover(resend, policy, history, can_read_back=can_read_back, live=live, jitter=jitter)
    assert decision.error is ErrorWord.OUTCOME_UNKNOWN
    assert decision.used == history.used
    if not live or (resend is Resend.NEVER and not can_read_back):
        assert decision.event is DeviceEvent.FAIL
    else:
        assert decision == Decision(
            DeviceEvent.RETRY,
            ErrorWord.OUTCOME_UNKNOWN,
            history.used,
            history.association_failures,
            policy.delay(1, jitter),
            verify_first=resend is not Resend.SAFE,
        )


@given(flags, settled)
def test_what_was_given_back_is_as_it_was(verifying: bool, settled: dict[str, Any]) -> None:
    history = History(tries=3, used=2, association_failures=1)
    decision = decide(
        Outcome.given_back("drain"), Resend.VERIFY, RetryPolicy(), history, **(settled | {"verifying": verifying})
    )
    assert decision == Decision(DeviceEvent.GIVE_BACK, used=2, association_failures=1, verify_first=verifying)


@given(flags, resends, policies, histories, jitters)
def test_a_checkpoint_goes_on_without_a_failed_attempt(
    live: bool, resend: Resend, policy: RetryPolicy, history: History, jitter: float
) -> None:
    decision = decide(
        Outcome.checkpoint({"block": 1}), resend, policy, history,
        live=live, can_read_back=False, verifying=False, jitter=jitter,
    )  # fmt: skip
    if live:
        assert decision == Decision(DeviceEvent.RETRY, used=history.used)
    else:
        assert (decision.event, decision.error) == (DeviceEvent.FAIL, ErrorWord.OUTCOME_UNKNOWN)


@given(flags, resends, policies, histories, jitters, st.floats(0, 3600))
def test_a_checkpoint_waits_as_long_as_it_says_and_may_leave_the_meter_as_it_is(
    live: bool, resend: Resend, policy: RetryPolicy, history: History, jitter: float, delay: float
) -> None:
    decision = decide(
        Outcome.checkpoint({"block": 1}, delay_seconds=delay, may_be_left=True), resend, policy, history,
        live=live, can_read_back=False, verifying=False, jitter=jitter,
    )  # fmt: skip
    if live:
        assert decision == Decision(DeviceEvent.RETRY, used=history.used, delay_seconds=delay)
    else:
        assert decision == Decision(DeviceEvent.GIVE_BACK, used=history.used)
