-- The owner of the tables, the login that serves, the database. Patroni runs this once.
CREATE ROLE parley LOGIN PASSWORD '@OWNER_PASSWORD@';
CREATE ROLE parley_app LOGIN PASSWORD '@APP_PASSWORD@';
CREATE DATABASE parley OWNER parley;
