title: A forwarder's answer has addresses of a name outside its zone
why: whoever answers for one zone must not decide about others: the target of an alias is asked of its own servers.

world usual
resolver forward partner.test 10.0.1.9
zone partner.test
  www CNAME www.bank.test.
zone bank.test
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.bank.test 10.0.1.1 serves bank.test
server ns1.partner.test 10.0.1.9 serves partner.test

---
ask www.partner.test A
expect answer www.bank.test A 203.0.113.1
expect server ns1.bank.test asked
