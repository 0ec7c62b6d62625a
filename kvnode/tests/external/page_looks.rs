//! How the status page looks, in a real browser: both themes, a phone's width, large numbers, the
//! keyboard, screen readers.

use crate::support::browser::{Browser, ENTER, TAB};
use crate::support::status_page::{SHOW_TIMEOUT, assert_quiet, open, shows};
use crate::support::{Cluster, ClusterOptions, alone, wait};

/// Both themes, wide and as narrow as a phone: nothing is wider than the window, and every text
/// stands out from what is behind it by 4.5 to 1 (WCAG AA). The toggle is reached and used with the
/// keyboard alone, shows that it has the focus, and its choice survives a reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_fits_and_can_be_read_and_used_by_everybody() {
    let _alone = alone();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let (leader, followers) = (cluster.leader().await, cluster.followers().await);
    cluster.node_mut(followers[0]).kill();
    let browser = open(&cluster, leader).await;
    shows(&browser, "#headline", &["cannot be reached"], SHOW_TIMEOUT).await;
    let mut backgrounds = Vec::new();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (375, "dark"), (375, "light")] {
        browser.pretend(width, 900, scheme);
        let shown = wait::until("the theme is shown", SHOW_TIMEOUT, async || {
            let theme = browser.run("return document.documentElement.dataset.theme;");
            wait::is(theme == scheme, || theme.to_string())
        });
        shown.await;
        let wide = browser.run("return [document.documentElement.scrollWidth, window.innerWidth];");
        assert!(wide[0].as_u64() <= wide[1].as_u64() && wide[1] == width, "{width} {scheme}: {wide}");
        let faint = browser.run(FAINT_TEXTS);
        assert_eq!(faint, serde_json::json!([]), "{width} {scheme}");
        backgrounds.push(browser.run("return getComputedStyle(document.body).backgroundColor;"));
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
    assert_large_numbers_fit(&browser).await;
    use_the_keyboard(&browser).await;
    assert_structure(&browser);
    assert_quiet(&browser);
}

/// Years of work make large numbers, and windows have any width: nothing is wider than the window
/// all the same.
///
/// Found: in a window of 1100 pixels the table stuck out once log indexes had six digits.
async fn assert_large_numbers_fit(browser: &Browser) {
    const LARGE: &str = "const real = window.fetch; window.good = () => { window.fetch = real; };
        window.fetch = async (path, options) => {
            const answer = await real(path, options);
            if (path !== '/api/cluster') return answer;
            const view = await answer.json();
            const fill = (object, names, value) => names.forEach((name) => { if (object) object[name] = value; });
            for (const member of view.members) {
                member.lag_entries = 123456789;
                fill(member.said, ['last_log_index', 'committed_index', 'applied_index'], 9123456789);
                fill(member.said, ['log_size_bytes', 'state_size_bytes', 'snapshot_size_bytes', 'disk_free_bytes'], 999 * 2 ** 30);
                fill(member.said, ['disk_size_bytes'], 1000 * 2 ** 30);
                fill(member.said, ['started_unix_ms'], 1.6e12);
                fill(member.recent, ['write_per_second', 'read_per_second'], 35184);
                fill(member.recent, ['sync_p50_ms', 'sync_p99_ms', 'apply_p50_ms', 'apply_p99_ms'], 123.4);
            }
            return new Response(JSON.stringify(view));
        };";
    browser.run(LARGE);
    shows(browser, "#rows", &["9,123,456,789"], SHOW_TIMEOUT).await;
    for width in [1280, 1249, 1248, 1100, 800, 375] {
        browser.pretend(width, 900, "light");
        let wide = browser
            .run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth];");
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{width}: {wide}");
    }
    browser.run("window.good();");
}

/// Texts whose colour is too near to what is behind them.
const FAINT_TEXTS: &str = r"
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = (c) => c.match(/[\d.]+/g).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.99) return c; }
    return [255, 255, 255]; };
  return [...document.querySelectorAll('body *')]
    .filter((e) => !['SCRIPT', 'NOSCRIPT', 'STYLE'].includes(e.tagName) && e.getClientRects().length)
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => { const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
      return [((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)).toFixed(2), e.textContent.slice(0, 40)]; })
    .filter(([ratio]) => ratio < 4.5);";

async fn use_the_keyboard(browser: &Browser) {
    const MOST_TABS: usize = 5;
    let focused = || browser.run("return document.activeElement.id;");
    let tabs = (1..=MOST_TABS).find(|_| {
        browser.press(TAB);
        focused() == "theme"
    });
    assert!(tabs.is_some(), "the toggle is not among the first {MOST_TABS} stops");
    let outline = browser
        .run("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth;");
    assert_eq!(outline, "solid3px");
    browser.pretend(1280, 900, "light");
    assert_eq!(browser.text("#theme"), "Theme: automatic");
    browser.press(ENTER);
    browser.press(ENTER);
    assert_eq!(browser.text("#theme"), "Theme: dark");
    browser.run("location.reload();");
    shows(browser, "#theme", &["Theme: dark"], SHOW_TIMEOUT).await;
    assert_eq!(browser.run("return document.documentElement.dataset.theme;"), "dark");
    shows(browser, "#headline", &["leads"], SHOW_TIMEOUT).await;
}

/// What a screen reader goes by.
fn assert_structure(browser: &Browser) {
    let structure = browser.run(
        "const all = (s) => document.querySelectorAll(s).length;
         return [all('h1'), all('h2'), all('main'), all('#headline[role=status][aria-live=polite]'), all('[role=alert]'),
           all('#members th[scope=col]') === 12, all('#rows th[scope=row]'), all('figure > svg:not([aria-label])'),
           all('html[lang]'), all('img:not([alt])')];",
    );
    assert_eq!(structure, serde_json::json!([1, 3, 1, 1, 1, true, 3, 0, 1, 0]));
}
