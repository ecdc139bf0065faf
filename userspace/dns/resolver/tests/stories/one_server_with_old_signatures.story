title: One of two servers has a copy with expired signatures
why: RFC 4035 section 5: what one server serves wrongly another may serve rightly (Unbound: val-max-restart).

world usual
zone example.test signed
  www A 203.0.113.1
  a A 203.0.113.2
  b A 203.0.113.3
  c A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  expired
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask a.example.test A
expect NOERROR secure
ask b.example.test A
expect NOERROR secure
ask c.example.test A
expect NOERROR secure
