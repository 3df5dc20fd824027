"""Every operation of pay-service."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
from standardwebhooks import Webhook


def use(world):
    pay, shop, models = world.pay, world.shop, world.pay.models
    order = models.CreateRecharge(merchant_order_no="client-1", account_no="alice", amount=1000, attach="table 7")
    made = pay.call(shop, "createRecharge", body=order, answers=201)
    assert (made.merchant, made.amount, made.attach) == ("shop", 1000, "table 7")
    assert made.status == models.RechargeStatus.SUCCEEDED and isinstance(made.tx_no, UUID)
    assert pay.call(shop, "createRecharge", body=order).tx_no == made.tx_no, "the same order is the same recharge"
    other = models.CreateRecharge(merchant_order_no="client-1", account_no="bob", amount=1)
    assert pay.call(shop, "createRecharge", body=other, answers=409).type_ == "urn:ringback:problem:conflict"
    dear = models.CreateRecharge(merchant_order_no="client-2", account_no="alice", amount=0)
    assert pay.call(shop, "createRecharge", body=dear, answers=422).errors[0].field == "amount"

    assert pay.call(shop, "getPayResult", made.tx_no.hex).tx_no == made.tx_no, "without hyphens"
    assert pay.call(shop, "getPayResult", str(made.tx_no)).tx_no == made.tx_no
    assert pay.call(shop, "findPayResult", merchant_order_no="client-1").tx_no == made.tx_no

    pending = settle_by_callback(world)
    page = pay.call(shop, "listRecharges", status=models.RechargeStatus.SUCCEEDED, limit=1)
    rest = pay.call(shop, "listRecharges", cursor=page.next_cursor, created_to=datetime.now(UTC))
    found = {recharge.tx_no for recharge in page.items + rest.items}
    assert {made.tx_no, pending} <= found, found
    totals = pay.call(shop, "sumRecharges", account_no="alice", status=models.RechargeStatus.SUCCEEDED).items
    assert [(total.merchant, total.count, total.sum_) for total in totals] == [("shop", 2, 1007)], totals
    assert pay.call(None, "listRecharges", answers=401).title == "A valid key is required"


def settle_by_callback(world):
    pay, models = world.pay, world.pay.models
    order = models.CreateRecharge(
        merchant_order_no="client-3", account_no="alice", amount=7, channel=models.Channel.SANDBOX
    )
    made = pay.call(world.shop, "createRecharge", body=order, answers=201)
    assert made.status == models.RechargeStatus.PENDING
    result = models.SandboxCallback(
        tx_no=made.tx_no.hex, amount=7, currency=models.Currency.CNY, result=models.CallbackResult.SUCCEEDED
    )
    # The signature is over the bytes that the client sends.
    body = httpx.Request("POST", pay.url, json=result.to_dict()).read().decode()
    now = datetime.now(UTC)
    signature = Webhook(world.sandbox_secret).sign("msg_1", now, body)
    headers = {"webhook_id": "msg_1", "webhook_timestamp": int(now.timestamp()), "webhook_signature": signature}
    taken = pay.call(None, "receiveCallback", "sandbox", body=result, **headers)
    assert (taken.tx_no, taken.status) == (made.tx_no, models.RechargeStatus.SUCCEEDED)
    return made.tx_no
