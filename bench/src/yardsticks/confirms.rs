//! A quorum queue by itself: persistent messages in, each confirmed; and out again, acknowledged.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};

use super::{CONFIRMED, TAKEN};
use crate::clock;
use crate::events::{ACCOUNT_MERCHANT, Maker};
use crate::figures::Figures;
use crate::ground;

const QUEUE: &str = "yardstick";
const MESSAGES: usize = 30_000;
/// Confirms outstanding at most, as many as one batch of the outbox's relay.
const WINDOW: usize = 500;
const PREFETCH: u16 = 1_000;

pub(super) async fn measure(url: &str) -> anyhow::Result<Figures> {
    let connection = ground::amqp(url).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    declare(&channel).await?;
    let mut figures = Figures::default();
    publish(&channel, MESSAGES / 10).await?;
    let from = clock::now();
    publish(&channel, MESSAGES).await?;
    figures.add_rate(CONFIRMED, MESSAGES, from, clock::now());
    let from = clock::now();
    let all = MESSAGES + MESSAGES / 10;
    let taking = connection.create_channel().await?;
    take(&taking, all).await?;
    figures.add_rate(TAKEN, all, from, clock::now());
    taking.close(200, "done".into()).await?; // with its consumer, so that the queue can go
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(figures)
}

async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), options, arguments).await?;
    Ok(())
}

async fn publish(channel: &Channel, count: usize) -> anyhow::Result<()> {
    let body = Maker::new(0).succeeded(ACCOUNT_MERCHANT, "6222021001").to_json();
    let mut waiting = VecDeque::with_capacity(WINDOW);
    for _ in 0..count {
        if waiting.len() == WINDOW {
            confirmed(waiting.pop_front()).await?;
        }
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        waiting.push_back(channel.basic_publish("".into(), QUEUE.into(), options, &body, properties).await?);
    }
    while !waiting.is_empty() {
        confirmed(waiting.pop_front()).await?;
    }
    Ok(())
}

async fn confirmed(confirm: Option<lapin::PublisherConfirm>) -> anyhow::Result<()> {
    let confirmation = confirm.context("there is one")?.await?;
    ensure!(matches!(confirmation, Confirmation::Ack(_)), "the queue refused a message");
    Ok(())
}

async fn take(channel: &Channel, count: usize) -> anyhow::Result<()> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut messages =
        channel.basic_consume(QUEUE.into(), "yardstick".into(), options, FieldTable::default()).await?;
    for number in 1..=count {
        let message = messages.next().await.context("the queue ended")??;
        if number % WINDOW == 0 || number == count {
            channel.basic_ack(message.delivery_tag, BasicAckOptions { multiple: true }).await?;
        }
    }
    Ok(())
}
