"""Every operation of account-service."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from waiting import until


def use(world):
    account, key, models = world.account, world.account_key, world.account.models
    wish = models.NewAccount(account_no="client-1", account_name="张三")
    assert account.call(key, "createAccount", body=wish, answers=201).balance == 0
    assert account.call(key, "createAccount", body=wish).account_name == "张三"
    assert account.call(world.shop, "getAccount", "client-1", answers=403).status == 403
    credit(world)
    receive(world)
    decide(world)
    reconcile(world)
    look_at_dead_letters(world)


def credit(world):
    account, key, models = world.account, world.account_key, world.account.models
    asked = account.call(key, "requestRecharge", "client-1", body=models.RequestRecharge(amount=1000), answers=201)
    assert asked.status == models.RechargeStatus.SUCCEEDED
    result = account.call(key, "getPayResult", asked.tx_no.hex)
    assert result.credited and result.source in models.AnsweredBy
    assert account.call(key, "getAccount", "client-1").balance == 1000
    credits = account.call(key, "listCredits", "client-1", limit=1).items
    assert [(one.tx_no, one.amount) for one in credits] == [(asked.tx_no, 1000)]
    books = account.call(key, "auditBooks")
    assert books.balanced and books.totals[0].credited == 1000


def receive(world):
    """Only the notifier can sign what this operation takes."""
    models = world.account.models
    body = models.Notification(type_="recharge.succeeded", data={"tx_no": str(uuid4())})
    signature = {"webhook_id": "msg_1", "webhook_timestamp": 1, "webhook_signature": "v1,forged"}
    assert world.account.call(None, "receiveNotification", body=body, answers=401, **signature).status == 401


def decide(world):
    account, pay, models = world.account, world.pay, world.account.models
    order = pay.models.CreateRecharge(merchant_order_no="client-7", account_no="nobody", amount=5)
    tx_no = pay.call(world.account_key, "createRecharge", body=order, answers=201).tx_no
    found = {"kind": models.ExceptionKind.UNKNOWN_ACCOUNT, "state": models.ExceptionState.OPEN}
    listed = until(
        "the unknown account is an exception",
        lambda: account.call(world.operator, "listExceptions", tx_no=tx_no.hex, **found).items,
    )
    one = account.call(world.operator, "getException", listed[0].id)
    assert one.tx_no == tx_no and one.received["amount"] == 5
    decision = models.Decision(action=models.DecisionAction.DISMISS, reason="a try")
    resolved = account.call(world.operator, "resolveException", one.id, body=decision)
    assert resolved.state == models.ExceptionState.DISMISSED and resolved.resolution.reason == "a try"


def reconcile(world):
    account, key, models = world.account, world.account_key, world.account.models
    to = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    period = models.Period(from_=to - timedelta(hours=1), to=to)
    begun = account.call(key, "createReconciliation", body=period, answers=202)
    assert begun.origin == models.ReconciliationOrigin.ASKED

    def finished():
        shown = account.call(key, "getReconciliation", begun.id)
        return shown if shown.state == models.ReconciliationState.FINISHED else None

    assert until("it is finished", finished).differences.additional_properties["missing_here"] == 0
    assert begun.id in [one.id for one in account.call(key, "listReconciliations").items]
    kind = models.DifferenceKind.MISSING_HERE
    assert account.call(key, "listReconciliationDifferences", begun.id, kind=kind).items == []
    account.call(key, "cancelReconciliation", begun.id, body=models.Reason(reason="too late"), answers=409)


def look_at_dead_letters(world):
    account, models = world.account, world.account.models
    assert account.call(world.operator, "listDeadLetters").items == []
    assert account.call(world.operator, "listRequeues").items == []
    account.call(world.account_key, "listDeadLetters", answers=403)
    account.call(world.operator, "getDeadLetter", uuid4(), answers=404)
    account.call(world.operator, "requeueDeadLetter", uuid4(), body=models.Reason(), answers=404)
