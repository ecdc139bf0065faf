#[path = "story/script.rs"]
mod script;
#[test]
fn all() {
    let mut bad = 0;
    for e in std::fs::read_dir("tests/stories").unwrap() {
        let p = e.unwrap().path();
        if p.extension().is_some_and(|e| e == "story") {
            let r = script::parse(&std::fs::read_to_string(&p).unwrap()).and_then(|s| {
                let mut plan = s.plan.clone();
                plan.build()?;
                for (_, st) in &s.steps {
                    if let script::Step::ZoneChanges(z) = st {
                        *plan.zone_mut(z.origin()).unwrap() = (**z).clone();
                        plan.build()?;
                    }
                }
                Ok(())
            });
            if let Err(e) = r { bad += 1; eprintln!("{}: {e:#}", p.display()); }
        }
    }
    assert_eq!(bad, 0);
}
