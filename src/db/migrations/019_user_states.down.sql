DROP TABLE user_states;
