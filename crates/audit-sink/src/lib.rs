//! A countersigned record of every external call: audit events, a bounded writer with durable intents, and the layer that records.
