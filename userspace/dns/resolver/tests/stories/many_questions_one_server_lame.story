title: A lame server costs nothing once it is known
why: RFC 1912 section 2.8; RFC 9520 section 3.1: its lameness is remembered. That it is cured is found out beside a question to another server, which costs no time.

world usual
zone example.test signed
  h0 A 203.0.113.0
  h1 A 203.0.113.1
  h2 A 203.0.113.2
  h3 A 203.0.113.3
  h4 A 203.0.113.4
  h5 A 203.0.113.5
  h6 A 203.0.113.6
  h7 A 203.0.113.7
  h8 A 203.0.113.8
  h9 A 203.0.113.9
  h10 A 203.0.113.10
  h11 A 203.0.113.11
server ns1.example.test 10.0.1.1 serves example.test
  refused
server ns2.example.test 10.0.1.2 serves example.test

---
ask h0.example.test A
expect NOERROR secure
ask h1.example.test A
expect NOERROR secure
ask h2.example.test A
expect NOERROR secure
ask h3.example.test A
expect NOERROR secure
ask h4.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h5.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h6.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h7.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h8.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h9.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h10.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
ask h11.example.test A
expect NOERROR secure
expect at most 2 queries
expect within 15ms
