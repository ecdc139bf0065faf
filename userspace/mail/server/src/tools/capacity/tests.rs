use super::*;

#[test]
fn layouts_are_read_and_written() {
    for (text, layout) in [
        ("one-box", Layout::OneBox),
        ("garage-2", Layout::Garage2),
        ("garage-3", Layout::Garage3),
        ("erasure-10+4", Layout::Erasure { data: 10, more: 4 }),
    ] {
        assert_eq!(text.parse(), Ok(layout));
        assert_eq!(layout.to_string(), text);
    }
    assert_eq!("erasure 4+2".parse(), Ok(Layout::Erasure { data: 4, more: 2 }));
    for text in
        ["", "garage", "garage-4", "erasure", "erasure-10", "erasure-0+4", "erasure-10+1", "10+4"]
    {
        assert_eq!(text.parse::<Layout>(), Err(LayoutError), "{text}");
    }
}

#[test]
fn what_is_lost_without_a_loss() {
    let erasure = Layout::Erasure { data: 10, more: 4 };
    for (layout, copies, boxes, survives) in [
        (Layout::Garage2, 2.0, 3, "a box"),
        (Layout::Garage3, 3.0, 3, "a box, without anybody noticing"),
        (erasure, 1.4, 7, "a box; 2 for packs alone, as the database has one copy"),
        (
            Layout::Erasure { data: 4, more: 2 },
            1.5,
            6,
            "a box; 2 for packs alone, as the database has one copy",
        ),
    ] {
        assert_eq!((layout.copies(), layout.least_boxes()), (copies, boxes), "{layout}");
        assert_eq!(layout.survives(boxes), survives, "{layout}");
    }
    assert!(erasure.survives(14).starts_with("a box; 4 for packs"));
}

#[test]
fn full_mailboxes_take_what_they_are_made_of() {
    let plan = plan(&Wish::default()).unwrap();
    // 500,000 times 300 MB, and what is stored of it in packs of which a fifth is dead, three times, on disks that are four fifths
    // full.
    assert_eq!(plan.full.mail_bytes, 150e12);
    assert!((plan.full.pack_bytes / 150e12 - STORED.value / 0.8).abs() < 1e-9, "{plan:?}");
    assert!((plan.full.disk_bytes / plan.full.pack_bytes - 3.0 / 0.8).abs() < 1e-9);
    // As many disks of 16 TB in each of three boxes.
    let least = (plan.full.disk_bytes / 16e12).ceil() as u64;
    assert_eq!((plan.full.disks, plan.full.boxes), (least.div_ceil(3) * 3, 3));
    assert!((plan.load.messages.average - 57.87).abs() < 0.01, "{:?}", plan.load);
    assert_eq!(plan.load.index_writes, Rate { average: 640.0, peak: 640.0 * 2.2 });
    assert!(
        plan.likely.usd_per_gb > plan.full.usd_per_gb,
        "boxes cost the same, whatever is in them"
    );
    assert!(plan.likely.usd_per_gb < 3.0 && plan.remarks.is_empty(), "{:?}", plan.remarks);
    assert!(plan.full.hardware_usd < 75_000.0);
}

#[test]
fn more_of_anything_never_takes_less() {
    let base = Wish::default();
    let bought = |wish: &Wish| plan(wish).unwrap();
    let before = bought(&base);
    for (what, wish) in [
        ("users", Wish { users: base.users * 10, ..base.clone() }),
        ("quota", Wish { quota: base.quota * 10, ..base.clone() }),
        ("fill", Wish { fill: 0.9, ..base.clone() }),
        ("messages", Wish { messages_per_day: 1_000.0, ..base.clone() }),
        ("sessions", Wish { sessions_per_day: 50_000.0, ..base.clone() }),
        ("peak", Wish { peak: 500.0, ..base.clone() }),
    ] {
        let after = bought(&wish);
        assert!(after.likely.disks >= before.likely.disks, "{what}");
        assert!(after.likely.boxes >= before.likely.boxes, "{what}");
        assert!(after.likely.hardware_usd >= before.likely.hardware_usd, "{what}");
        assert!(
            after.likely.disks > before.likely.disks || after.likely.boxes > before.likely.boxes,
            "{what} changes nothing: {after:?}"
        );
    }
}

#[test]
fn layouts_differ_in_what_they_take() {
    let with = |layout| plan(&Wish { layout, ..Wish::default() }).unwrap();
    let (two, three) = (with(Layout::Garage2), with(Layout::Garage3));
    let erasure = with(Layout::Erasure { data: 10, more: 4 });
    assert!(erasure.full.disk_bytes < two.full.disk_bytes);
    assert!(two.full.disk_bytes < three.full.disk_bytes);
    assert!(erasure.full.boxes >= 7);
    let one = with(Layout::OneBox);
    assert_eq!((one.full.boxes, one.full.disks % 2), (1, 0));
    assert_eq!(one.load.inside.peak, 0.0);
    // The engines of a cluster take processors, and a box that has all in files has none.
    assert!(one.load.cores.average < three.load.cores.average);
    let narrow = Wish {
        layout: Layout::OneBox,
        hardware: Hardware { bays: 2, ..Hardware::default() },
        ..Wish::default()
    };
    assert!(plan(&narrow).unwrap().remarks.iter().any(|remark| remark.contains("one box")));
    let few = Wish { users: 100, ..Wish::default() };
    assert!(plan(&few).unwrap().remarks.iter().any(|remark| remark.contains("3 USD")));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let base = Wish::default();
    for wish in [
        Wish { users: 0, ..base.clone() },
        Wish { quota: 0, ..base.clone() },
        Wish { fill: 0.0, ..base.clone() },
        Wish { fill: 1.1, ..base.clone() },
        Wish { fill: f64::NAN, ..base.clone() },
        Wish { peak: 0.5, ..base.clone() },
        Wish { messages_per_day: -1.0, ..base.clone() },
        Wish { hardware: Hardware { bays: 0, ..Hardware::default() }, ..base.clone() },
        Wish { prices: Prices { years: f64::INFINITY, ..Prices::default() }, ..base.clone() },
    ] {
        assert!(plan(&wish).is_err(), "{wish:?}");
    }
}
