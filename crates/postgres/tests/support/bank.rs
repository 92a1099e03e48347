//! A bank whose payments are in tables of one schema.

use countersign_postgres::rls::{Problem, RowSecurity, Table};
use tokio_postgres::{Client, NoTls, Transaction};

use super::{address, client, sql, unique};

/// A schema with a guarded table of payments and the two roles of `docs/isolation.md`.
pub(crate) struct Bank {
    pub(crate) schema: String,
}

impl Bank {
    pub(crate) async fn open() -> Self {
        let bank = Self::unguarded().await;
        let mut owner = client().await;
        let transaction = owner.transaction().await.unwrap();
        bank.security().apply(&transaction).await.unwrap();
        // A migration that runs again changes nothing.
        bank.security().apply(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        bank
    }

    /// The roles are made by the statements that stand in the guide.
    pub(crate) async fn unguarded() -> Self {
        let schema = unique();
        let guide = include_str!("../../../../docs/isolation.md");
        let mut blocks = guide.split("```sql\n").skip(1).map(|block| {
            let block = block.split("```").next().unwrap();
            block.replace("bank", &schema)
        });
        sql(&blocks.next().unwrap()).await;
        sql(&format!(
            "CREATE TABLE {schema}.payments (id text PRIMARY KEY, company varchar NOT NULL);
             CREATE TABLE {schema}.\"odd \"\"accounts\" (id text, \"whose? it's\" text COLLATE \"C\");
             ALTER TABLE {schema}.payments OWNER TO {schema}_owner;
             ALTER TABLE {schema}.\"odd \"\"accounts\" OWNER TO {schema}_owner;
             INSERT INTO {schema}.payments VALUES
                 ('pay_12', 'company_12'), ('pay_34', 'company_34'), ('pay_0', '');
             INSERT INTO {schema}.\"odd \"\"accounts\" VALUES ('acct_12', 'company_12')"
        ))
        .await;
        sql(&blocks.next().unwrap()).await;
        Self { schema }
    }

    pub(crate) fn security(&self) -> RowSecurity {
        RowSecurity::new([
            Table::new("payments").schema(&self.schema),
            Table::new("odd \"accounts")
                .schema(&self.schema)
                .column("whose? it's"),
        ])
        .unwrap()
    }

    /// A connection of the role that services run as.
    pub(crate) async fn app(&self) -> Client {
        self.role("app").await
    }

    pub(crate) async fn role(&self, name: &str) -> Client {
        let address = address().replace("postgres@", &format!("{}_{name}@", self.schema));
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The planted leak: it forgets the company.
    pub(crate) async fn every_payment(&self, transaction: &Transaction<'_>) -> Vec<String> {
        let query = format!("SELECT id FROM {}.payments ORDER BY id", self.schema);
        let rows = transaction.query_typed(&query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn problems(&self, client: &mut Client) -> Vec<Problem> {
        let transaction = client.transaction().await.unwrap();
        self.security().check(&transaction).await.unwrap()
    }
}
