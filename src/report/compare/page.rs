//! The comparison as one page: no scripts, no network, light and dark, for a desk, a phone and paper. It begins
//! with the answer: what the ring gains, per layout, with intervals.

use std::collections::{BTreeMap, BTreeSet};

use super::gain::{Gain, Gains};
use super::tables::{VMWARE, p_text};
use super::{Comparison, bytes_text, number, warnings};
use crate::report::figure::{Figure, NARROW, Style, WIDE, palette_css};
use crate::report::rank_test::Verdict;
use crate::report::schema::Provenance;

/// The whole page.
#[must_use]
pub fn html(c: &Comparison, gains: &Gains, figures: &[Figure]) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\"><title>Message passing between virtual machines, compared</title>");
    page.push_str(&format!("<style>{}</style></head><body><main>\n", css()));
    page.push_str("<h1>Message passing between virtual machines, compared</h1>\n");
    page.push_str(&format!("<p class=\"sub\">{}</p>\n", e(&summary(c))));
    answer(&mut page, c, gains);
    for figure in figures {
        figure_html(&mut page, figure, figure.id.starts_with("gain"));
    }
    if c.has_vmware() {
        page.push_str(&format!("<p class=\"warn\" id=\"vmware\">{}</p>\n", e(VMWARE)));
    }
    gain_details(&mut page, c, gains);
    conditions(&mut page, c);
    page.push_str(WORDS);
    page.push_str("</main></body></html>\n");
    page
}

use crate::report::figure::escape as e;

fn summary(c: &Comparison) -> String {
    let files = c.groups.iter().flat_map(|g| g.files.iter().map(|(file, _)| file));
    let files = files.collect::<BTreeSet<_>>().len();
    let names: Vec<&str> = c.groups.iter().map(|g| g.name.as_str()).collect();
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let past = if c.stated.is_empty() { "" } else { ", beside the figures published in 2008" };
    let launches = c.launches();
    format!(
        "{launches} fresh launch{} from {files} file{}: {}{past}.",
        if launches == 1 { "" } else { "es" },
        s(files),
        names.join(", ")
    )
}

/// Ten seconds: cards by group and layout.
fn answer(page: &mut String, c: &Comparison, gains: &Gains) {
    page.push_str("<section class=\"answer\"><h2>What the ring gains</h2>\n");
    let all = gains.headline();
    if all.is_empty() {
        page.push_str(
            "<p>These files cannot say: no layout was measured over both the ring and TCP. Measure with \
             <code>paths = [\"ring\", \"tcp\"]</code> in a campaign file.</p></section>\n",
        );
        return;
    }
    let what = if gains.within.is_empty() {
        "Two ranks of one host (1x2) over the ring, against two ranks on two hosts (2x1) over TCP: no layout was measured over both paths."
    } else {
        "The same ranks in the same layout: how many times as fast the ring in shared memory is as TCP, with 95 % intervals."
    };
    page.push_str(&format!("<p>{what}</p>\n"));
    page.push_str(&lead(c, all));
    let mut groups: BTreeMap<usize, BTreeMap<&super::LayoutName, Vec<&Gain>>> = BTreeMap::new();
    for gain in all {
        groups.entry(gain.group).or_default().entry(&gain.layout).or_default().push(gain);
    }
    for (group, layouts) in groups {
        let side = layouts.values().flatten().next().map_or("", |g| g.other_side(c));
        page.push_str(&format!(
            "<h3>{} <small>ring against {}</small></h3><div class=\"cards\">",
            e(&c.groups[group].name),
            e(side)
        ));
        for (layout, gains) in layouts {
            page.push_str(&format!(
                "<div class=\"card\"><b class=\"lay\">{}</b> <span class=\"muted\">{}</span><dl>",
                e(&layout.text),
                e(&layout.words())
            ));
            for gain in gains {
                page.push_str(&entry(gain));
            }
            page.push_str("</dl></div>");
        }
        page.push_str("</div>\n");
    }
    page.push_str("</section>\n");
}

/// One sentence for each group, about two virtual machines of one host, or the first layout there is.
fn lead(c: &Comparison, all: &[Gain]) -> String {
    let mut text = String::from("<ul class=\"lead\">");
    for group in 0..c.groups.len() {
        let pingpong: Vec<&Gain> =
            all.iter().filter(|g| g.group == group && g.benchmark == "PingPong").collect();
        let usual = pingpong.iter().find(|g| g.layout.text == "1x2").or(pingpong.first());
        let Some(first) = usual else {
            continue;
        };
        let same = pingpong.iter().filter(|g| g.layout == first.layout);
        let parts: Vec<String> = same.map(|g| lead_part(g)).collect();
        text.push_str(&format!(
            "<li><b>{}</b>, {}: the ring is, against {}, {}.</li>",
            e(&c.groups[group].name),
            e(&first.layout.words()),
            e(first.other_side(c)),
            parts.join(", and ")
        ));
    }
    text.push_str("</ul>");
    text
}

fn lead_part(gain: &Gain) -> String {
    let interval = match gain.ratio.interval.ends() {
        Some([low, high]) => format!(" ({} to {})", number(low), number(high)),
        None => String::new(),
    };
    let unsure =
        if gain.test.verdict == Verdict::NotToldApart { ", which is not told apart," } else { "" };
    format!(
        "<b>{} times as fast</b>{interval}{unsure} for messages of {}",
        number(gain.ratio.value),
        bytes_text(gain.bytes)
    )
}

fn entry(gain: &Gain) -> String {
    let interval = match gain.ratio.interval.ends() {
        Some([low, high]) => format!("{} to {}", number(low), number(high)),
        None => format!("no interval from {} launches", gain.launches.0.min(gain.launches.1)),
    };
    let class = match gain.test.verdict {
        Verdict::Faster => "up",
        Verdict::Slower => "down",
        Verdict::NotToldApart => "same",
    };
    format!(
        "<dt>{} {}</dt><dd><b class=\"big\">{}&times;</b> <span class=\"iv\">{interval}</span> <span class=\"v {class}\">{}</span></dd>",
        e(&gain.benchmark),
        bytes_text(gain.bytes),
        number(gain.ratio.value),
        gain.test.verdict.as_str()
    )
}

fn figure_html(page: &mut String, figure: &Figure, open: bool) {
    page.push_str(&format!(
        "<figure id=\"{}\"><div class=\"keep\"><h2>{}</h2>",
        figure.id,
        e(&figure.title)
    ));
    page.push_str(&format!("<div class=\"wide\">{}</div>", figure.svg(WIDE, Style::Page)));
    page.push_str(&format!(
        "<div class=\"narrow\">{}</div></div>",
        figure.svg(NARROW, Style::Page)
    ));
    page.push_str(&format!("<figcaption>{}</figcaption>", e(&figure.caption)));
    if !figure.warnings.is_empty() {
        // Beside every figure, but folded where the same were just said.
        page.push_str(&format!(
            "<details class=\"warn\"{}><summary>{} to keep in mind</summary><ul>",
            if open { " open" } else { "" },
            figure.warnings.len()
        ));
        for warning in &figure.warnings {
            page.push_str(&format!("<li>{}</li>", e(warning)));
        }
        page.push_str("</ul></details>");
    }
    page.push_str("</figure>\n");
}

fn gain_details(page: &mut String, c: &Comparison, gains: &Gains) {
    if gains.headline().is_empty() {
        return;
    }
    page.push_str("<section><h2>The gains in figures</h2><div class=\"scroll\"><table><thead><tr><th>group<th>layout<th>benchmark<th>size<th>times as fast<th>95 % interval<th>the ring is<th>p<th>launches<th>against</tr></thead><tbody>");
    for gain in gains.headline() {
        let interval = gain
            .ratio
            .interval
            .ends()
            .map_or("-".to_owned(), |[l, h]| format!("{} to {}", number(l), number(h)));
        let cells = [
            c.groups[gain.group].name.clone(),
            gain.layout.text.clone(),
            gain.benchmark.clone(),
            bytes_text(gain.bytes),
            number(gain.ratio.value),
            interval,
            gain.test.verdict.as_str().to_owned(),
            p_text(gain.test.p),
            format!("{} + {}", gain.launches.0, gain.launches.1),
            gain.other_side(c).to_owned(),
        ];
        page.push_str("<tr>");
        cells.iter().for_each(|cell| page.push_str(&format!("<td>{}", e(cell))));
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div></section>\n");
}

fn conditions(page: &mut String, c: &Comparison) {
    page.push_str("<section><h2>Conditions</h2>");
    for group in &c.groups {
        page.push_str(&format!("<h3>{}</h3>", e(&group.name)));
        for (file, p) in &group.files {
            page.push_str(&format!("<p><code>{}</code>: {}</p>", e(file), e(&facts(p))));
        }
    }
    let all = warnings::about(c, c.series.keys());
    if !all.is_empty() {
        page.push_str("<h3>All warnings</h3><ul>");
        for warning in warnings::texts(c, &all) {
            page.push_str(&format!("<li>{}</li>", e(&warning)));
        }
        page.push_str("</ul>");
    }
    page.push_str("</section>\n");
}

fn facts(p: &Provenance) -> String {
    let versions: Vec<String> = p.versions.iter().map(|(k, v)| format!("{k} {v}")).collect();
    let policy: Vec<String> = p.policy.iter().map(|(k, v)| format!("{k} {v}")).collect();
    let mut facts = vec![
        format!("hypervisor {}", p.hypervisor),
        p.machine.clone(),
        format!("{} cores", p.cores),
        p.kernel.clone(),
        format!("clock {}", p.clock_source),
        format!("stolen time {} ms", number(p.steal_us / 1000.0)),
        format!("rings in {}", p.mapping),
        versions.join(", "),
        format!("commit {}", p.commit),
        format!("waiting: {}", p.waiting),
    ];
    let optional = [("target", &p.target), ("network interface", &p.nic), ("source", &p.source)];
    facts.extend(optional.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k} {v}")));
    facts.extend(p.guests.iter().map(|how| format!("guests: {how}")));
    facts.extend(p.host_cores.map(|n| format!("{n} cores in the host")));
    facts.extend((!policy.is_empty()).then(|| format!("message policy: {}", policy.join(", "))));
    facts.extend(p.seed.map(|seed| format!("launches in random order, seed {seed}")));
    facts.extend(
        p.netns.then(|| "hosts are network namespaces joined by a 1 Gbit/s link".to_owned()),
    );
    facts.extend(p.clock.as_ref().map(|c| {
        format!(
            "clock against {}: {:+.3} s in {:.0} s, resolution {} s",
            c.against,
            c.difference_s,
            c.elapsed_s,
            number(c.resolution_s)
        )
    }));
    facts.retain(|f| !f.trim().is_empty() && !f.ends_with("unknown"));
    facts.join("; ")
}

fn css() -> String {
    format!(
        ":root{{{}}}@media (prefers-color-scheme:dark){{:root{{{}}}}}{STYLE}@media print{{:root{{{}}}{PRINT}}}",
        palette_css(false),
        palette_css(true),
        palette_css(false)
    )
}

const STYLE: &str = "
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:920px;margin:0 auto;padding:20px 24px 60px}h1{font-size:1.6rem;line-height:1.25;margin:.4em 0 .2em}
h2{font-size:1.2rem;line-height:1.3;margin:0 0 .5em}h3{font-size:1rem;margin:1em 0 .4em}h3 small{font-weight:normal;color:var(--muted)}
.sub,.muted,figcaption{color:var(--muted)}figure,section{margin:34px 0 0;padding:0}figcaption{font-size:.875rem;margin-top:8px}
svg{display:block;max-width:100%;height:auto}.narrow{display:none}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:12px}
.card{border:1px solid var(--grid);border-radius:8px;padding:10px 14px;break-inside:avoid}.lay{font-size:1.1rem}
dl{margin:6px 0 0}dt{font-size:.85rem;color:var(--muted);margin-top:6px}dd{margin:0}.big{font-size:1.5rem;line-height:1.2;display:block}.iv{white-space:nowrap}
.v{white-space:nowrap;font-size:.85rem;border:1px solid;border-radius:9px;padding:0 7px}.up{color:var(--s2)}.down{color:var(--s1)}.same{color:var(--muted)}
.up::before{content:'\\2191\\a0'}.down::before{content:'\\2193\\a0'}.same::before{content:'= '}
.warn{border-left:4px solid var(--s1);padding:4px 12px;margin:10px 0 0;font-size:.9rem;overflow-wrap:anywhere}.warn ul{margin:4px 0;padding-left:18px}
summary{cursor:pointer}.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem}
th,td{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--grid);white-space:nowrap}
code{overflow-wrap:anywhere}p{margin:.4em 0}section p{overflow-wrap:anywhere}.lead{padding-left:20px;margin:.6em 0}.lead li{margin:.3em 0}.words dt{font-size:1rem;color:var(--text);font-weight:bold}
@media (max-width:700px){.big{display:inline}main{padding:12px 16px 40px}.wide{display:none}.narrow{display:block}}
";

const PRINT: &str = "body{font-size:10.5pt}main{max-width:none;padding:0}.keep,.card,svg{break-inside:avoid}.keep .wide{break-before:avoid}.wide{display:block!important}
.narrow{display:none!important}h2,h3{break-after:avoid}.scroll{overflow:visible}table{font-size:7.5pt}th,td{padding:2px 6px 2px 0}td:first-child,td:last-child{white-space:normal}
.cards{grid-template-columns:repeat(4,1fr);gap:6px}.card{padding:4px 8px;font-size:8.5pt}.card dt{font-size:7.5pt;margin-top:3px}.big{font-size:11pt;display:inline}.v{font-size:7.5pt;padding:0 4px}.lay{font-size:10pt}.warn{font-size:8pt}figcaption{font-size:8.5pt}h3{break-after:avoid}svg{max-height:232mm;width:auto;margin:0 auto}details::details-content{content-visibility:visible}@page{margin:14mm}";

const WORDS: &str = "<section class=\"words\"><h2>How to read this</h2><dl>
<dt>Layout HxV</dt><dd>H hosts with V virtual machines on each.</dd>
<dt>Ring, TCP</dt><dd>Messages through memory that virtual machines of one host share, or through their network. Between hosts there is only TCP; ring+tcp uses each where it can.</dd>
<dt>Launch</dt><dd>One fresh start of the whole job: the unit of all statistics. Repetitions inside a launch share their memory placement and count as one.</dd>
<dt>Intervals</dt><dd>At 95 %: Student's for means, order statistics for medians, the studentised bootstrap (fixed seed) for ratios of typical times, where typical is the mean of the logarithms without a fifth of the launches at either end.</dd>
<dt>Faster, slower, not told apart</dt><dd>The rank test of Mann and Whitney, two-sided, at 5 %. Each comparison is tested alone: of many, one in twenty may err.</dd>
<dt>Limit</dt><dd>What the machine itself allows for one message, measured beside the benchmark without the library: two copies through shared memory for the ring, busy polling on loopback for TCP.</dd>
<dt>Latency</dt><dd>Half the round trip of PingPong, as IMB counts it.</dd>
<dt>Accumulated bandwidth</dt><dd>Everything that crosses between ranks in one Alltoall, divided by the time of the slowest rank.</dd>
</dl></section>
";
