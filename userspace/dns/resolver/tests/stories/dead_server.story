title: One of two servers is dead
why: The first question pays the patience with a stranger at most, the next none: that a dead server is back is found out beside a question to another, not instead of it.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
  ftp A 203.0.113.3
  news A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  dead
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect within 400ms
ask mail.example.test A
expect NOERROR secure
ask ftp.example.test A
expect NOERROR secure
expect within 100ms
expect at most 2 queries
ask news.example.test A
expect NOERROR secure
expect within 100ms
