//! pay-service as the model sees it: recharges whose results come over time, and answers that are
//! right, wrong or none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use account_service::domain::{AccountNo, Amount, Currency, Recharge, Request, Status};
use account_service::pay_service::{
    Answer, NotCreated, PayService, StatementPage, StatementQuery, Unanswered,
};
use async_trait::async_trait;
use runtime::validation::FieldError;
use serde_json::{Value, json};
use uuid::Uuid;

use super::command::{Final, Mood, Taking};
use super::gate::Gate;
use super::mortal::{Done, Journal};
use super::mortal_walks::Step;
use super::statement::Page;

pub const MERCHANT: &str = "account-service";
/// Of the first recharge.
pub const FIRST_MILLISECOND: u64 = 0x0190_0000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Final(Final),
}

/// A recharge, as it is or as somebody tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub tx: Uuid,
    pub order: String,
    pub account: usize,
    pub amount: i64,
    pub dollars: bool,
    pub state: State,
    /// Another merchant's.
    pub foreign: bool,
}

pub fn account_no(account: usize) -> &'static str {
    ["yuan", "dollars", "late", "nobody"][account]
}

pub fn currency(dollars: bool) -> &'static str {
    if dollars { "USD" } else { "CNY" }
}

impl Told {
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Pending => "pending",
            State::Final(Final::Succeeded) => "succeeded",
            State::Final(Final::Failed) => "failed",
            State::Final(Final::Closed) => "closed",
        }
    }

    pub fn merchant(&self) -> &'static str {
        if self.foreign { "shop" } else { MERCHANT }
    }

    /// As pay-service writes it.
    pub fn json(&self) -> Value {
        json!({
            "tx_no": self.tx, "merchant": self.merchant(), "merchant_order_no": self.order,
            "account_no": account_no(self.account), "amount": self.amount,
            "currency": currency(self.dollars), "status": self.word(),
        })
    }

    /// As the service reads it.
    pub fn recharge(&self) -> Recharge {
        Recharge {
            tx_no: self.tx,
            merchant: self.merchant().into(),
            merchant_order_no: self.order.clone(),
            account_no: AccountNo::parse(account_no(self.account)).expect("a number"),
            amount: Amount::new(self.amount).expect("an amount"),
            currency: currency(self.dollars).parse::<Currency>().expect("a code"),
            status: self.word().parse::<Status>().expect("a status"),
        }
    }
}

/// A question, and what was answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The `tx_no` or the order that was asked about.
    pub number: Uuid,
    pub answered: Answered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Down,
    NotThere,
    Refused,
    /// Something else than what was asked for, as far as it could be read.
    Wrong(Option<String>),
    Told(Told),
}

/// What pay-service knows, and how it answers.
#[derive(Default)]
pub struct Books {
    pub recharges: Vec<Told>,
    /// Requests that are under way to it.
    pub under_way: Vec<Told>,
    pub taking: Option<Taking>,
    /// How many recharges a page of the statement has; 0 stands for as many as are asked for.
    pub page: usize,
    moods: Vec<Mood>,
    asked: usize,
}

impl Books {
    /// From now on it answers so in turn.
    pub fn answer(&mut self, moods: &[Mood]) {
        self.moods = moods.to_vec();
        self.asked = 0;
    }

    /// Takes a recharge under the next number.
    pub fn take(&mut self, mut recharge: Told) -> Told {
        recharge.tx = tx(self.recharges.len());
        self.recharges.push(recharge.clone());
        recharge
    }

    pub fn mood(&mut self) -> Mood {
        let mood = self.moods.get(self.asked % self.moods.len().max(1)).copied();
        self.asked += 1;
        mood.unwrap_or(Mood::Right)
    }

    fn look_up(&mut self, is_it: impl Fn(&Told) -> bool) -> Answered {
        let mood = self.mood();
        let Some(told) = self.recharges.iter().find(|recharge| is_it(recharge)).cloned() else {
            return if mood == Mood::Down { Answered::Down } else { Answered::NotThere };
        };
        tell(told, mood)
    }

    fn create(&mut self, told: Told) -> Answered {
        let pending = |books: &mut Self| books.take(told.clone());
        match self.taking.unwrap_or(Taking::Down) {
            Taking::Taken => Answered::Told(pending(self)),
            Taking::Instant => {
                Answered::Told(self.take(Told { state: State::Final(Final::Succeeded), ..told }))
            }
            Taking::Down => Answered::Down,
            Taking::Refused => Answered::Refused,
            Taking::AnswerLost => {
                pending(self);
                Answered::Down
            }
            Taking::UnderWay => {
                self.under_way.push(told);
                Answered::Down
            }
            Taking::Wrong(mood) => {
                let told = pending(self);
                // Which recharge it is about, it says by the order.
                match mood {
                    Mood::Another => wrong(&Told { order: "another".into(), ..told }),
                    mood => tell(told, mood),
                }
            }
        }
    }
}

/// The number of the recharge at this place. Two each are of the same millisecond, all of them long
/// before the clock's time: a period may be reconciled while its recharges are still made, which is
/// more than is asked of the service.
pub fn tx(place: usize) -> Uuid {
    let (millis, place) = (u128::from(FIRST_MILLISECOND) + place as u128 / 2, place as u128);
    Uuid::from_u128((millis << 80) | (7 << 76) | (2 << 62) | place)
}

/// A number that no recharge has, behind both of its millisecond.
pub fn made_up(tx: Uuid) -> Uuid {
    Uuid::from_u128(tx.as_u128() | (1 << 40))
}

fn wrong(told: &Told) -> Answered {
    Answered::Wrong(Some(told.json().to_string()))
}

fn tell(told: Told, mood: Mood) -> Answered {
    match mood {
        Mood::Right => Answered::Told(told),
        Mood::Down => Answered::Down,
        Mood::Forgetful => Answered::NotThere,
        Mood::Nonsense => Answered::Wrong(None),
        Mood::Another => wrong(&Told { tx: tx(999), order: "another".into(), ..told }),
        Mood::Foreign => wrong(&Told { foreign: true, ..told }),
        Mood::Amount => Answered::Told(Told { amount: told.amount + 1, ..told }),
        Mood::Stale => Answered::Told(Told { state: State::Pending, ..told }),
    }
}

/// One process's way to pay-service; all have the same books.
#[derive(Clone)]
pub struct Script {
    pub books: Arc<Mutex<Books>>,
    pub gate: Gate,
    pub journal: Journal,
}

impl Script {
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        &self,
        number: Uuid,
        answer: impl FnOnce(&mut Books) -> Answered,
    ) -> Result<Option<Answer>, NotCreated> {
        let died = |_| Unanswered::Status(500);
        self.gate.pass().await.map_err(died)?;
        let answered = answer(&mut self.books());
        self.journal.write(Done::Asked(Asked { number, answered: answered.clone() }));
        self.gate.pass().await.map_err(died)?;
        match answered {
            Answered::Told(told) => Ok(Some(answer_of(told.recharge(), &told.json()))),
            Answered::NotThere => Ok(None),
            Answered::Down => Err(Unanswered::Status(500).into()),
            Answered::Wrong(None) => Err(Unanswered::TooLong(1).into()),
            Answered::Wrong(Some(text)) => Ok(Some(read(&text))),
            Answered::Refused => {
                let (field, message) = ("channel".into(), "must be another".into());
                Err(NotCreated::Refused(vec![FieldError { field, message }]))
            }
        }
    }
}

fn answer_of(recharge: Recharge, json: &Value) -> Answer {
    Answer { recharge, received: json.to_string().into() }
}

/// A wrong answer as the service's client reads it.
fn read(text: &str) -> Answer {
    let json: Value = serde_json::from_str(text).expect("JSON");
    let field = |name: &str| json[name].as_str().expect("text").to_owned();
    let recharge = Recharge {
        tx_no: field("tx_no").parse().expect("a uuid"),
        merchant: field("merchant"),
        merchant_order_no: field("merchant_order_no"),
        account_no: AccountNo::parse(field("account_no")).expect("a number"),
        amount: Amount::new(json["amount"].as_i64().expect("a number")).expect("an amount"),
        currency: field("currency").parse().expect("a code"),
        status: field("status").parse().expect("a status"),
    };
    answer_of(recharge, &json)
}

#[async_trait]
impl PayService for Script {
    async fn create(&self, request: &Request) -> Result<Answer, NotCreated> {
        let told = Told {
            tx: Uuid::nil(),
            order: request.merchant_order_no.to_string(),
            account: (0..4).find(|a| account_no(*a) == request.account_no.as_str()).expect("one of ours"),
            amount: request.amount.minor_units(),
            dollars: request.currency.as_str() == "USD",
            state: State::Pending,
            foreign: false,
        };
        let answer = self.ask(request.merchant_order_no, |books| books.create(told)).await?;
        answer.ok_or(NotCreated::Unknown(Unanswered::Status(500)))
    }

    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        let answer = self.ask(tx_no, |books| books.look_up(|told| told.tx == tx_no)).await;
        answer.map_err(unanswered)
    }

    async fn payresult_of_order(&self, order: Uuid) -> Result<Option<Answer>, Unanswered> {
        let text = order.to_string();
        self.ask(order, |books| books.look_up(|told| told.order == text)).await.map_err(unanswered)
    }

    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered> {
        let died = |_| Unanswered::Status(500);
        self.gate.pass().await.map_err(died)?;
        let page = self.books().tell_page(query);
        self.journal.write(Done::Step(Box::new(Step::Told(*query, page.clone()))));
        self.gate.pass().await.map_err(died)?;
        let Page { rows, more } = page.ok_or(Unanswered::Status(500))?;
        let answer = |told: &Told| answer_of(told.recharge(), &told.json());
        Ok(StatementPage { recharges: rows.iter().map(answer).collect(), more })
    }
}

fn unanswered(error: NotCreated) -> Unanswered {
    match error {
        NotCreated::Unknown(unanswered) => unanswered,
        NotCreated::Refused(_) => unreachable!("only a request can be refused"),
    }
}
