title: Twenty forged answers come before the right one (wrong question)
why: RFC 5452 section 9.1: the question must fit.

world usual
zone example.test
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  wrong_question 20 for www.example.test

---
ask www.example.test A
expect NOERROR insecure
expect answer www.example.test A 203.0.113.1
expect nothing of 6.6.6.6
