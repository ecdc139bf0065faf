//! Operators change what is there, several at once, and while users are on line.

use ipnet::IpNet;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_state::import::from_clients;
use muralla_radius_state::{Naming, NasEntry, PoolEntry, ProfileEntry, State};
use muralla_test_database::on_both_engines;

use crate::common::{Database, accounting};

on_both_engines![
    of_operators_at_one_moment_none_undoes_what_another_did,
    a_name_stays_while_sessions_are_open_under_it,
    an_import_renames_no_nas,
];

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// One that adds a range, a group and an attribute of its own.
async fn operate(state: &State, number: u8) {
    let dictionary = Dictionary::built_in();
    let range = format!("192.0.2.{number}-192.0.2.{number}");
    let notes = state
        .change_pool("home", |pool| {
            let mut pool = pool.unwrap_or_else(|| PoolEntry::ipv4("home", Vec::<String>::new()));
            pool.ranges.push(range);
            Ok(pool)
        })
        .await;
    assert_eq!(notes.unwrap(), [""; 0]);
    state
        .change_nas(net("198.51.100.0/24"), Naming::default(), |nas, _| {
            let new = || NasEntry::new("bras", net("198.51.100.0/24"), "xyzzy5461");
            let mut nas = nas.unwrap_or_else(new);
            nas.groups.push(format!("group{number}"));
            Ok(nas)
        })
        .await
        .unwrap();
    state
        .change_profile(&dictionary, "home", |profile| {
            let mut profile = profile.unwrap_or_default();
            profile.reply.push(format!("Class = \"{number}\""));
            Ok(ProfileEntry { name: "home".into(), ..profile })
        })
        .await
        .unwrap();
}

async fn of_operators_at_one_moment_none_undoes_what_another_did(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    // Not even of those who make it.
    tokio::join!(operate(&a, 1), operate(&b, 2), operate(&a, 3), operate(&b, 4));
    tokio::join!(operate(&b, 5), operate(&a, 6), operate(&b, 7), operate(&a, 8));
    let [pool] = &a.pools().await.unwrap()[..] else { panic!("one pool") };
    let [nas] = &a.nases().await.unwrap().0[..] else { panic!("one NAS") };
    let [profile] = &a.profiles().await.unwrap()[..] else { panic!("one profile") };
    assert_eq!((pool.ranges.len(), nas.groups.len(), profile.reply.len()), (8, 8, 8));

    let refused = a.change_pool("home", |_| Err("not today".into())).await.unwrap_err();
    assert_eq!(refused.to_string(), "pool home: not today");
    assert_eq!(a.pools().await.unwrap()[0].ranges.len(), 8);
}

/// As an operator names the NAS of a prefix.
async fn name(state: &State, prefix: &str, name: &str, naming: Naming<'_>) -> Result<(), String> {
    let change = |nas: Option<NasEntry>, _: Option<&str>| {
        let nas = nas.unwrap_or_else(|| NasEntry::new("", net(prefix), "xyzzy5461"));
        Ok(NasEntry { name: name.into(), ..nas })
    };
    let changed = state.change_nas(net(prefix), naming, change).await;
    changed.map(drop).map_err(|error| error.to_string())
}

async fn a_name_stays_while_sessions_are_open_under_it(database: Database) {
    let state = database.state("a").await;
    let usual = Naming::default();
    name(&state, "192.0.2.0/28", "lns1", usual).await.unwrap();
    name(&state, "198.51.100.0/28", "lns2", usual).await.unwrap();
    // They are on lns1.
    let sessions: Vec<_> =
        (1..=3).map(|number| accounting("start", number, "ann", 1_000)).collect();
    state.export(&sessions).await.unwrap();

    for (prefix, new) in [("192.0.2.0/28", "bras1"), ("192.0.2.7/32", "bras1")] {
        let refused = name(&state, prefix, new, usual).await.unwrap_err();
        assert!(refused.contains("3 sessions are open under the name lns1"), "{refused}");
        assert!(refused.contains("--force"), "{refused}");
    }
    assert_eq!(state.nases().await.unwrap().0.len(), 2, "nothing was entered");
    // An entry within, of the same name, is free, and so is what packets don't go by.
    name(&state, "192.0.2.7/32", "lns1", usual).await.unwrap();
    name(&state, "192.0.0.0/16", "all", usual).await.unwrap();
    name(&state, "198.51.100.0/28", "bras2", usual).await.unwrap();
    let before = state.change_nas(net("192.0.2.8/32"), usual, |nas, before| {
        assert_eq!((nas, before), (None, Some("lns1")));
        Err("seen".into())
    });
    assert!(before.await.is_err());
    // Without it the wider one's name would be theirs.
    let refused = state.remove_nas(net("192.0.2.0/28"), usual).await.unwrap_err();
    assert!(refused.to_string().contains("3 sessions"), "{refused}");
    assert!(state.remove_nas(net("192.0.2.7/32"), usual).await.unwrap());
    // What the configuration says of the prefix goes before the database.
    let configured = [(net("192.0.2.0/28"), "lns1".to_owned())];
    let naming = Naming { configured: &configured, force: false };
    assert!(state.remove_nas(net("192.0.2.0/28"), naming).await.unwrap());
    name(&state, "192.0.2.0/28", "lns1", usual).await.unwrap();

    let forced = Naming { force: true, ..usual };
    name(&state, "192.0.2.7/32", "bras1", forced).await.unwrap();
    state.remove_nas(net("192.0.2.7/32"), forced).await.unwrap();
    let stops: Vec<_> = (1..=3).map(|number| accounting("stop", number, "ann", 1_060)).collect();
    state.export(&stops).await.unwrap();
    name(&state, "192.0.2.0/28", "bras1", usual).await.unwrap();
}

async fn an_import_renames_no_nas(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    name(&state, "192.0.2.0/28", "lns1", Naming::default()).await.unwrap();
    state.export(&[accounting("start", 1, "ann", 1_000)]).await.unwrap();
    let clients = "client pop {\nipaddr = 192.0.2.0/28\nsecret = other5461\n}\n\
                   client within {\nipaddr = 192.0.2.7\nsecret = other5461\n}\n\
                   client lns1 {\nipaddr = 192.0.2.8\nsecret = other5461\n}\n";
    let mut import = from_clients("clients.conf", clients);
    let imported = state.import(&dictionary, &mut import, |_| ()).await.unwrap();
    assert_eq!((imported.nases.changed, imported.nases.new), (1, 1));
    let names: Vec<String> =
        state.nases().await.unwrap().0.into_iter().map(|nas| nas.name).collect();
    assert_eq!(names, ["lns1", "lns1"]);
    let [refused] = &import.refused[..] else { panic!("{:?}", import.refused) };
    assert_eq!(refused.name, "192.0.2.7/32");
    assert!(refused.reason.contains("1 sessions are open under the name lns1"), "{refused}");
}
