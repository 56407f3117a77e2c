import java.util.Properties;
import org.apache.solr.embedded.JettyConfig;
import org.apache.solr.embedded.JettySolrRunner;

/**
 * A server of Solr 9, a SolrCloud by itself, that lives as long as its standard input is open.
 *
 * <p>Arguments: its folder, its name (which has no effect), the port of HTTP.
 */
public final class Launch {
  private Launch() {}

  public static void main(String[] arguments) throws Exception {
    JettyConfig config = JettyConfig.builder().setPort(Integer.parseInt(arguments[2])).setContext("/solr").build();
    try {
      new JettySolrRunner(arguments[0], new Properties(), config).start();
    } catch (Throwable failed) { // other threads would keep the process alive
      failed.printStackTrace();
      System.exit(1);
    }
    System.out.println("started");
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}
