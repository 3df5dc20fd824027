//! Calls from outside: the notifier, whoever asks, and the operator.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use messaging::Event;
use runtime::Clock;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::command::{Final, Stop};
use super::driver::{Deed, Driver, Kind, Work};
use super::pay_service::{Answered, State, Told, account_no};
use super::queue::letter_id;
use super::rig::{OPERATOR, Run};

impl Driver<'_> {
    /// Makes a call; `None` when whoever was to answer has died.
    pub async fn call(
        &mut self,
        kind: Kind,
        request: Request<Body>,
        stop: Stop,
    ) -> (Work, Option<(u16, Value)>) {
        let mut work = Work::new(kind, self.now());
        let router = self.rig.router.clone();
        let call = async move {
            let response = router.oneshot(request).await.expect("infallible");
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
            (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
        };
        let answer = match self.rig.front.run(Box::pin(call), stop).await {
            Run::Ended(answer) => Some(answer),
            Run::Stopped(call) => {
                drop(call);
                self.rig.front.gate.die();
                self.saw("deaths while answering", 1);
                None
            }
        };
        for done in self.rig.front.journal.take() {
            self.apply(&mut work, done);
        }
        (work, answer)
    }

    pub fn get_or_post(method: Method, path: &str, body: &Value) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {OPERATOR}"))
            .body(Body::from(body.to_string()))
            .expect("a request")
    }

    /// The notifier rings, and goes on ringing unless it is answered 200.
    pub async fn ring(&mut self, told: Told, stop: Stop) {
        let body = json!({ "type": format!("recharge.{}", told.word()), "timestamp": self.now(), "data": told.json() });
        let (body, at) = (body.to_string(), self.rig.clock.now().timestamp());
        let request = Request::post("/v1/notifications")
            .header("content-type", "application/json")
            .header("webhook-id", "event")
            .header("webhook-timestamp", at)
            .header("webhook-signature", self.rig.secret.sign("event", at, body.as_bytes()))
            .body(Body::from(body))
            .expect("a request");
        let (work, answer) = self.call(Kind::Ring(told.clone()), request, stop).await;
        self.ringing.retain(|ringing| *ringing != told);
        let taken = match answer {
            None => false,
            Some((status, body)) => {
                let verdict = work.verdicts.as_ref().map(|verdicts| verdicts[0]);
                assert_eq!(verdict.is_none(), told.foreign, "it is answered once it is posted");
                let refused = verdict.is_some_and(|verdict| verdict.refusal().is_some());
                assert_eq!(status, if refused { 422 } else { 200 }, "{told:?}: {body}");
                !refused
            }
        };
        if !taken {
            self.ringing.push(told);
        }
    }

    pub async fn publish(&mut self, told: Vec<Told>) {
        for told in told {
            let id = Uuid::from_u128(self.published.len() as u128);
            let kind = format!("recharge.{}", told.word());
            let event = Event::new(id, "/pay-service", &kind, self.now(), &told.json()).expect("JSON");
            let event = event.about(told.tx.to_string(), told.merchant());
            let confirmed = messaging::Broker::publish(&self.rig.queue, &[event]).await;
            assert!(confirmed.iter().all(Result::is_ok));
            self.published.push(told);
        }
    }

    /// Somebody asks here for a recharge.
    pub async fn request(&mut self, account: usize, amount: i64, stop: Stop) {
        let path = format!("/v1/accounts/{}/recharges", account_no(account));
        let request = Self::get_or_post(Method::POST, &path, &json!({ "amount": amount }));
        let (work, answer) = self.call(Kind::Request, request, stop).await;
        let Some((status, body)) = answer else { return };
        if !self.model.accounts[account].open {
            assert_eq!((status, work.recorded), (404, None));
            return;
        }
        let order = work.recorded.expect("it is recorded before pay-service is asked");
        let [asked] = &work.asked[..] else { panic!("it is asked for once: {work:?}") };
        match &asked.answered {
            Answered::Told(told) if work.has(Deed::Noted) => {
                assert_eq!((status, &body["tx_no"]), (201, &json!(told.tx)), "{body}");
                assert!(self.model.request(order).is_some_and(|r| r.known.is_some_and(|k| k.0 == told.tx)));
            }
            Answered::Refused => {
                assert_eq!(status, 422, "{body}");
                assert!(self.model.request(order).is_none());
            }
            Answered::Down => assert_eq!((status, work.has(Deed::Kept)), (503, false), "{body}"),
            _ => assert_eq!((status, work.has(Deed::Kept)), (503, true), "{asked:?}: {body}"),
        }
    }

    /// Somebody asks how a recharge stands.
    pub async fn query(&mut self, tx: Uuid, stop: Stop) {
        let before = self.model.credits.contains_key(&tx);
        let request = Self::get_or_post(Method::GET, &format!("/v1/payresult/{tx}"), &Value::Null);
        let (work, answer) = self.call(Kind::Query(tx), request, stop).await;
        let Some((status, body)) = answer else { return };
        if before {
            assert!(work.asked.is_empty(), "what is credited is answered here");
            assert_eq!((status, &body["source"]), (200, &json!("ledger")), "{body}");
            return;
        }
        let [asked] = &work.asked[..] else { panic!("pay-service is asked once: {work:?}") };
        match &asked.answered {
            Answered::Told(told) => {
                let credited = self.model.credits.contains_key(&tx);
                assert_eq!((status, &body["status"]), (200, &json!(told.word())), "{body}");
                assert_eq!((&body["credited"], work.verdicts.is_some()), (&json!(credited), true), "{body}");
                let succeeded = told.state == State::Final(Final::Succeeded);
                assert!(succeeded || !credited, "what has not succeeded is not credited");
                self.saw("credited by query", usize::from(credited));
            }
            Answered::NotThere => assert_eq!((status, work.has(Deed::Kept)), (404, false), "{body}"),
            Answered::Down => assert_eq!((status, work.has(Deed::Kept)), (503, false), "{body}"),
            _ => assert_eq!((status, work.has(Deed::Kept)), (503, true), "{body}"),
        }
    }

    /// The operator has a dead letter put back.
    pub async fn requeue(&mut self, pick: usize, stop: Stop) {
        let dead: Vec<u64> = self.rig.queue.messages().dead.keys().copied().collect();
        let Some(place) = dead.get(pick % dead.len().max(1)) else { return };
        let path = format!("/v1/dead-letters/{}/requeue", letter_id(*place));
        let (_, answer) =
            self.call(Kind::Requeue, Self::get_or_post(Method::POST, &path, &json!({})), stop).await;
        if let Some((status, body)) = answer {
            assert_eq!(status, 200, "{body}");
            assert!(!self.rig.queue.messages().dead.contains_key(place), "it is back in the queue");
            self.saw("requeued", 1);
        }
    }

    /// Mostly an open one.
    fn pick_exception(&self, pick: usize) -> Option<usize> {
        let open = |place: &usize| pick.is_multiple_of(4) || self.model.exceptions[*place].state == "open";
        let places: Vec<usize> = (0..self.model.exceptions.len()).filter(open).collect();
        places.get(pick % places.len().max(1)).copied()
    }

    /// The operator decides about an exception.
    pub async fn resolve(&mut self, pick: usize, credit: bool, knowing: bool, stop: Stop) {
        if let Some(place) = self.pick_exception(pick) {
            self.resolve_at(place, credit, knowing, stop).await;
        }
    }

    /// The operator decides about this one.
    pub async fn resolve_at(&mut self, place: usize, credit: bool, knowing: bool, stop: Stop) {
        let Some(id) = self.exception_id(place).await else { return };
        let action = if credit { "credit" } else { "dismiss" };
        let told = self.model.exceptions[place].result.as_ref().filter(|_| credit && knowing);
        let despite = told.and_then(|told| self.model.first_of_order(told));
        let mut body = json!({ "action": action, "reason": "as the bank says" });
        if let Some(first) = despite {
            body["despite"] = json!(first);
        }
        let path = format!("/v1/exceptions/{id}/resolve");
        let kind = Kind::Resolve { place, credit, despite };
        let (work, answer) = self.call(kind, Self::get_or_post(Method::POST, &path, &body), stop).await;
        if let Some((status, body)) = answer {
            let expected = work.resolved.expect("it is answered once it is done").err().unwrap_or(200);
            assert_eq!(status, expected, "{body}");
            self.saw("decisions", usize::from(status == 200));
            self.saw("decisions refused", usize::from(status != 200));
        }
    }
}
