-- An operator's replay may be of every subscription.
ALTER TABLE bulks ALTER COLUMN subscription_id DROP NOT NULL;
