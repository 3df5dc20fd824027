"""Every operation of the notifier."""

import json

from receiver import Receiver
from standardwebhooks import Webhook
from waiting import until


def use(world):
    receiver = Receiver()
    subscription = subscribe(world, receiver)
    read_and_change(world, subscription.id)
    send(world, receiver, subscription)
    publish(world)
    rotate(world, subscription.id)
    in_bulk(world, subscription.id)
    world.notifier.call(world.shop, "deleteSubscription", subscription.id, reason="done", answers=204)


def subscribe(world, receiver):
    notifier, models = world.notifier, world.notifier.models
    wish = models.CreateSubscription(
        name="client",
        url=receiver.url,
        event_types=["recharge.*"],
        ladder=["1m", "1500ms"],
        ack=models.AckJson(json=models.AckPlace(pointer="/code", equals="SUCCESS")),
        headers=models.Headers.from_dict({"x-shop": "7"}),
    )
    made = notifier.call(world.shop, "createSubscription", body=wish, answers=201)
    assert made.secret.startswith("whsec_"), "the secret is in the answer"
    assert made.ladder == ["1m", "1500ms"] and made.ack.json.equals == "SUCCESS"
    assert made.state == models.SubscriptionState.ACTIVE and made.health.state == models.HealthState.HEALTHY
    wish.name, wish.url = "client-2", "https://u:p@shop.example/"
    assert notifier.call(world.shop, "createSubscription", body=wish, answers=422).errors[0].field == "url"
    wish.name, wish.url = "client", receiver.url
    assert notifier.call(world.shop, "createSubscription", body=wish, answers=409).status == 409
    return made


def read_and_change(world, id):
    notifier, models = world.notifier, world.notifier.models
    assert notifier.call(world.shop, "getSubscription", id).name == "client"
    assert [one.id for one in notifier.call(world.shop, "listSubscriptions", name="client").items] == [id]
    change = models.UpdateSubscription(
        ladder=models.LadderPreset.ALIPAY, ack=models.AckBody(body="success"), rate_limit=None, timeout="5s"
    )
    changed = notifier.call(world.shop, "updateSubscription", id, body=change)
    assert changed.ladder == models.LadderPreset.ALIPAY and changed.ack.body == "success"
    change = models.UpdateSubscription(ack=models.AckStatus.STATUS)
    assert notifier.call(world.shop, "updateSubscription", id, body=change).ack == models.AckStatus.STATUS
    audits = notifier.call(world.shop, "listSubscriptionAudits", id).items
    assert [audit.action for audit in audits][-1] == models.SubscriptionAction.CREATE


def send(world, receiver, subscription):
    notifier, models = world.notifier, world.notifier.models
    tested = notifier.call(world.shop, "testSubscription", subscription.id, body=models.TestSubscription())
    assert tested.outcome == models.AttemptOutcome.DELIVERED and tested.http_status == 200
    headers, body = receiver.first(lambda event: event["type"] == "ringback.test")
    Webhook(subscription.secret).verify(body, headers)
    is_as_described(notifier.document["webhooks"]["notification"]["post"], headers, body)

    tx_no = recharge(world, "client-4")
    found = {"subscription_id": subscription.id, "subject": tx_no}
    done = [models.NotificationStateFilter.DELIVERED, models.NotificationStateFilter.EXHAUSTED]
    listed = until(
        "the notification is delivered",
        lambda: notifier.call(world.shop, "listNotifications", state=done, **found).items,
    )
    assert listed[0].state == models.NotificationState.DELIVERED
    one = notifier.call(world.shop, "getNotification", listed[0].id)
    assert one.event.data["tx_no"] == tx_no and one.attempts[0].number == 1
    headers, body = receiver.first(lambda event: event["data"].get("tx_no") == tx_no)
    assert json.loads(body)["data"] == one.event.data and headers["webhook-id"] == one.event_id
    reason = models.Reason(reason="once more")
    assert notifier.call(world.shop, "resendNotification", one.id, body=reason).attempt_count == 1
    until("it is sent again, byte for byte", lambda: [sent for _, sent in receiver.received].count(body) == 2)
    assert notifier.call(world.shop, "listNotifications", subject="", answers=400).errors[0].field == "subject"


def is_as_described(webhook, headers, body):
    names = {name.lower() for name in headers}
    missing = {parameter["name"] for parameter in webhook["parameters"]} - names
    assert not missing, f"the webhook has no {missing}"
    assert set(json.loads(body)) == {"type", "timestamp", "data"}


def recharge(world, order):
    wish = world.pay.models.CreateRecharge(merchant_order_no=order, account_no="alice", amount=1000)
    return str(world.pay.call(world.shop, "createRecharge", body=wish, answers=201).tx_no)


def publish(world):
    notifier, models = world.notifier, world.notifier.models
    event = models.CloudEvent(specversion="1.0", id="order-7", source="/orders", type_="order.paid", data={"n": 1})
    published = notifier.call(world.shop, "publishEvents", body=event, answers=202)
    assert published.events[0].result == models.PublishResult.NEW
    page = notifier.call(world.shop, "readFeed", event_types="order.*", limit=1)
    assert [one.id for one in page.items] == ["order-7"] and not page.items[0].delivered


def rotate(world, id):
    notifier, models = world.notifier, world.notifier.models
    wish = models.RotateSecret(overlap="0s", signature=models.SignatureScheme.V1A)
    rotated = notifier.call(world.shop, "rotateSubscriptionSecret", id, body=wish)
    assert rotated.public_key.startswith("whpk_") and rotated.secret is None


def in_bulk(world, id):
    """What is held can be cancelled, one or all; what is final can be sent again."""
    notifier, models = world.notifier, world.notifier.models
    paused = models.UpdateSubscription(state=models.SubscriptionState.PAUSED, reason="for a while")
    notifier.call(world.shop, "updateSubscription", id, body=paused)
    for order in ("client-5", "client-6"):
        recharge(world, order)
    held = until("both are held", lambda: held_of(world, id, 2))
    assert held[0].waits_for == models.WaitsFor.PAUSED
    cancelled = notifier.call(world.shop, "cancelNotification", held[0].id, body=models.Reason())
    assert cancelled.state == models.NotificationState.CANCELLED
    counted = notifier.call(world.shop, "countNotifications", subscription_id=id).items[0]
    assert (counted.counts.held, counted.counts.cancelled) == (1, 1)

    wish = models.CancellationRequest(subscription_id=id, state=[models.CancellableState.HELD], reason="never mind")
    bulk = notifier.call(world.shop, "createCancellation", body=wish, answers=202)
    finished = until("the cancellation is done", lambda: done(world, "getCancellation", bulk.id))
    assert finished.cancelled == 1
    assert [one.id for one in notifier.call(world.shop, "listCancellations").items] == [bulk.id]

    wish = models.ReplayRequest(subscription_id=id, state="cancelled", event_type="recharge.*")
    bulk = notifier.call(world.shop, "createReplay", body=wish, answers=202)
    finished = until("the replay is done", lambda: done(world, "getReplay", bulk.id))
    assert (finished.matched, finished.resent) == (2, 2)
    assert [one.id for one in notifier.call(world.shop, "listReplays", subscription_id=id).items] == [bulk.id]


def held_of(world, id, count):
    state = [world.notifier.models.NotificationStateFilter.HELD]
    items = world.notifier.call(world.shop, "listNotifications", subscription_id=id, state=state).items
    return items if len(items) == count else None


def done(world, operation, id):
    bulk = world.notifier.call(world.shop, operation, id)
    return bulk if bulk.state == world.notifier.models.BulkState.DONE else None
